//! The drawing's style sheet: light unless the reader prefers dark.
//!
//! Colours are said twice instead of in variables, which several SVG renderers outside browsers do not know; those
//! show the light form.

/// The style sheet. Text and lines have a contrast of at least 4.5 to their ground in both forms.
pub(super) const STYLE: &str = "
.amends .page{fill:#fff}
.amends text{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#1c2430;white-space:pre}
.amends .heading{font-size:18px;font-weight:700}
.amends .facts,.amends .legend text{font-size:12px;fill:#4a5566}
.amends .name{font-size:14px;font-weight:700}
.amends .code{font-size:12px}
.amends .note{font-size:11px;fill:#4a5566}
.amends .word{font-size:11px;font-weight:700}
.amends .box,.amends .stack{fill:#f4f6f9;stroke:#566275;stroke-width:1.3}
.amends .inner{fill:none;stroke:#566275;stroke-width:1}
.amends .reads .box{stroke-dasharray:1.5 2.5;stroke-linecap:round}
.amends .pivot .box{stroke:#1c2430;stroke-width:3.2}
.amends .undo .box{fill:#fff;stroke:#8a5a00;stroke-dasharray:5 3}
.amends .undo .inner{stroke:#8a5a00;stroke-dasharray:5 3}
.amends .nothing .box{stroke:#aab3c0;stroke-dasharray:2 4}
.amends .ahead,.amends .back{fill:none;stroke-width:1.6}
.amends .ahead{stroke:#33415a}
.amends .implied{stroke-dasharray:1 4;stroke-linecap:round}
.amends .back{stroke:#8a5a00;stroke-dasharray:5 3}
.amends .head-ahead{fill:#33415a}
.amends .head-back{fill:#8a5a00}
.amends .pivot-line{fill:none;stroke:#1c2430;stroke-width:1.2;stroke-dasharray:10 4}
.amends .pivot-word{font-size:11px;text-anchor:end;stroke:#fff;stroke-width:5;paint-order:stroke;stroke-linejoin:round}
.amends .idle>.box,.amends .idle>.stack{fill:#f4f6f9;stroke:#8a94a3}
.amends .active>.box,.amends .active>.stack{fill:#dcebff;stroke:#1d5fb0}
.amends .good>.box,.amends .good>.stack{fill:#def3e3;stroke:#1f7a3d}
.amends .undone>.box,.amends .undone>.stack{fill:#fdeecb;stroke:#8a5a00}
.amends .bad>.box,.amends .bad>.stack{fill:#fde0e0;stroke:#b3261e}
@media (prefers-color-scheme:dark){
.amends .page{fill:#14181f}
.amends text{fill:#e7ebf2}
.amends .facts,.amends .note,.amends .legend text{fill:#aeb8c7}
.amends .box,.amends .stack{fill:#222936;stroke:#8f9bb0}
.amends .inner{stroke:#8f9bb0}
.amends .pivot .box{stroke:#f4f6f9}
.amends .undo .box{fill:#14181f;stroke:#e0a83a}
.amends .undo .inner{stroke:#e0a83a}
.amends .nothing .box{stroke:#5b6678}
.amends .ahead{stroke:#b9c4d6}
.amends .back{stroke:#e0a83a}
.amends .head-ahead{fill:#b9c4d6}
.amends .head-back{fill:#e0a83a}
.amends .pivot-line{stroke:#f4f6f9}
.amends .pivot-word{stroke:#14181f}
.amends .idle>.box,.amends .idle>.stack{fill:#222936;stroke:#6b7688}
.amends .active>.box,.amends .active>.stack{fill:#173a66;stroke:#6fb0ff}
.amends .good>.box,.amends .good>.stack{fill:#14421f;stroke:#5fce80}
.amends .undone>.box,.amends .undone>.stack{fill:#4a3609;stroke:#e0a83a}
.amends .bad>.box,.amends .bad>.stack{fill:#561a17;stroke:#ff8a80}
}
";
