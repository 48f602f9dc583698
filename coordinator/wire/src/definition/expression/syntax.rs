//! The shape of an expression: what minijinja has read already, read again with places, so that it can be
//! checked against schemas before anything runs.
//!
//! The grammar and its precedences are minijinja's. Where this reader meets something it does not know, it
//! gives the expression up, and the expression is then checked for its names only.

use super::token::{Token, TokenKind};

/// A part of an expression and the byte after the opening mark at which it begins.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expr {
    pub(crate) at: usize,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// A text; `None` where it is written with escapes.
    Text(Option<String>),
    /// A number; its value where it is a small whole one.
    Number(Option<u32>),
    Bool,
    Null,
    /// A name at the beginning of a path.
    Root(String),
    Member(Box<Expr>, String),
    Item(Box<Expr>, Box<Expr>),
    /// Some items of a list, with what bounds them, and whether a step is among that.
    Slice(Box<Expr>, Vec<Expr>, bool),
    Call(String, Arguments),
    Filter(Box<Expr>, String, Arguments),
    Test(Box<Expr>, String, Vec<Expr>),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Compare(&'static str, Box<Expr>, Box<Expr>),
    Compute(&'static str, Box<Expr>, Box<Expr>),
    If {
        yes: Box<Expr>,
        condition: Box<Expr>,
        no: Option<Box<Expr>>,
    },
    List(Vec<Expr>),
    Map(Vec<(Expr, Expr)>),
}

/// What a filter or a function is given.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Arguments {
    pub(crate) plain: Vec<Expr>,
    pub(crate) named: Vec<(String, Expr)>,
}

/// Reads a whole expression that minijinja takes; it has bounded the depth.
pub(crate) fn read(tokens: &[Token<'_>]) -> Option<Expr> {
    let mut reader = Reader { tokens, next: 0 };
    let expr = reader.expr()?;
    (reader.next == tokens.len()).then_some(expr)
}

/// Operators between two operands, by how tightly they bind; `not` stands between `and` and the comparisons.
const OR: u8 = 1;
const AND: u8 = 2;
const NOT: u8 = 3;
const COMPARE: u8 = 4;
const OPERATORS: [(&str, u8); 14] = [
    ("==", COMPARE),
    ("!=", COMPARE),
    ("<", COMPARE),
    ("<=", COMPARE),
    (">", COMPARE),
    (">=", COMPARE),
    ("+", 5),
    ("-", 5),
    ("~", 6),
    ("*", 7),
    ("/", 7),
    ("//", 7),
    ("%", 7),
    ("**", 8),
];

struct Reader<'t, 's> {
    tokens: &'t [Token<'s>],
    next: usize,
}

impl<'t, 's> Reader<'t, 's> {
    fn peek(&self) -> Option<&'t Token<'s>> {
        self.tokens.get(self.next)
    }

    fn take(&mut self) -> Option<&'t Token<'s>> {
        let token = self.tokens.get(self.next)?;
        self.next += 1;
        Some(token)
    }

    fn skip(&mut self, symbol: &str) -> bool {
        let found = self.peek().is_some_and(|token| token.is(symbol));
        self.next += usize::from(found);
        found
    }

    fn skip_word(&mut self, word: &str) -> bool {
        let found = self.peek().is_some_and(|token| token.is_word(word));
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, symbol: &str) -> Option<()> {
        self.skip(symbol).then_some(())
    }

    fn expr(&mut self) -> Option<Expr> {
        let mut expr = self.binary(OR)?;
        while self.skip_word("if") {
            let condition = Box::new(self.binary(OR)?);
            let no = if self.skip_word("else") { Some(Box::new(self.expr()?)) } else { None };
            expr = Expr { at: expr.at, kind: Kind::If { yes: Box::new(expr), condition, no } };
        }
        Some(expr)
    }

    fn binary(&mut self, least: u8) -> Option<Expr> {
        let at = self.peek()?.at;
        let mut left = if least <= NOT && self.skip_word("not") {
            Expr { at, kind: Kind::Not(Box::new(self.binary(NOT)?)) }
        } else {
            self.operand()?
        };
        while let Some((operator, binds)) = self.operator().filter(|(_, binds)| *binds >= least) {
            self.next += if operator == "not in" { 2 } else { 1 };
            let (one, other) = (Box::new(left), Box::new(self.binary(binds + 1)?));
            let kind = match operator {
                "or" => Kind::Or(one, other),
                "and" => Kind::And(one, other),
                operator if binds == COMPARE => Kind::Compare(operator, one, other),
                operator => Kind::Compute(operator, one, other),
            };
            left = Expr { at, kind };
        }
        Some(left)
    }

    fn operator(&self) -> Option<(&'static str, u8)> {
        let token = self.peek()?;
        if token.kind == TokenKind::Symbol {
            return OPERATORS.into_iter().find(|(symbol, _)| token.is(symbol));
        }
        let followed = self.tokens.get(self.next + 1).is_some_and(|next| next.is_word("in"));
        match token.text {
            "or" => Some(("or", OR)),
            "and" => Some(("and", AND)),
            "in" => Some(("in", COMPARE)),
            "not" if followed => Some(("not in", COMPARE)),
            _ => None,
        }
    }

    /// An operand with its filters and tests, which apply to the whole of it.
    fn operand(&mut self) -> Option<Expr> {
        let mut expr = self.signed()?;
        let at = expr.at;
        loop {
            if self.skip("|") {
                let name = self.word()?;
                let arguments = self.arguments_if_any()?;
                expr = Expr { at, kind: Kind::Filter(Box::new(expr), name, arguments) };
            } else if self.skip_word("is") {
                let negated = self.skip_word("not");
                let name = self.word()?;
                let arguments = self.test_arguments()?;
                expr = Expr { at, kind: Kind::Test(Box::new(expr), name, arguments) };
                if negated {
                    expr = Expr { at, kind: Kind::Not(Box::new(expr)) };
                }
            } else {
                return Some(expr);
            }
        }
    }

    fn signed(&mut self) -> Option<Expr> {
        let at = self.peek()?.at;
        if self.skip("-") {
            return Some(Expr { at, kind: Kind::Negate(Box::new(self.signed()?)) });
        }
        let mut expr = self.primary()?;
        loop {
            if self.skip(".") {
                let name = self.word()?;
                expr = Expr { at, kind: Kind::Member(Box::new(expr), name) };
            } else if self.skip("[") {
                expr = self.bracket(at, expr)?;
            } else {
                return Some(expr);
            }
        }
    }

    /// An item or a slice of a value, behind the opening bracket.
    fn bracket(&mut self, at: usize, expr: Expr) -> Option<Expr> {
        let mut bounds = Vec::new();
        let mut colons = 0;
        while !self.skip("]") {
            if self.skip(":") {
                colons += 1;
            } else {
                bounds.push(self.expr()?);
            }
        }
        let kind = match (colons, bounds.len()) {
            (0, 1) => Kind::Item(Box::new(expr), Box::new(bounds.remove(0))),
            (1 | 2, _) => Kind::Slice(Box::new(expr), bounds, colons == 2),
            _ => return None,
        };
        Some(Expr { at, kind })
    }

    fn word(&mut self) -> Option<String> {
        let token = self.take()?;
        (token.kind == TokenKind::Word).then(|| token.text.to_owned())
    }

    fn primary(&mut self) -> Option<Expr> {
        let token = self.take()?;
        let kind = match (token.kind, token.text) {
            (TokenKind::Text, _) => {
                let mut text = token.plain_text().map(str::to_owned);
                // Texts that stand side by side are one.
                while let Some(more) = self.peek().filter(|more| more.kind == TokenKind::Text) {
                    self.next += 1;
                    text = text.zip(more.plain_text()).map(|(text, more)| text + more);
                }
                Kind::Text(text)
            }
            (TokenKind::Number, number) => Kind::Number(number.parse().ok()),
            (TokenKind::Word, "true" | "True" | "false" | "False") => Kind::Bool,
            (TokenKind::Word, "none" | "None") => Kind::Null,
            (TokenKind::Word, name) if self.peek().is_some_and(|next| next.is("(")) => {
                Kind::Call(name.to_owned(), self.arguments_if_any()?)
            }
            (TokenKind::Word, name) => Kind::Root(name.to_owned()),
            (TokenKind::Symbol, "(") => return self.parenthesis(token.at),
            (TokenKind::Symbol, "[") => Kind::List(self.items("]")?),
            (TokenKind::Symbol, "{") => Kind::Map(self.members()?),
            (TokenKind::Symbol, _) => return None,
        };
        Some(Expr { at: token.at, kind })
    }

    /// An expression in parentheses, or a list written with them.
    fn parenthesis(&mut self, at: usize) -> Option<Expr> {
        if self.skip(")") {
            return Some(Expr { at, kind: Kind::List(Vec::new()) });
        }
        let first = self.expr()?;
        if self.skip(")") {
            return Some(first);
        }
        self.expect(",")?;
        let mut items = self.items(")")?;
        items.insert(0, first);
        Some(Expr { at, kind: Kind::List(items) })
    }

    fn items(&mut self, close: &str) -> Option<Vec<Expr>> {
        let mut items = Vec::new();
        while !self.skip(close) {
            items.push(self.expr()?);
            if !self.skip(",") {
                self.expect(close)?;
                break;
            }
        }
        Some(items)
    }

    fn members(&mut self) -> Option<Vec<(Expr, Expr)>> {
        let mut members = Vec::new();
        while !self.skip("}") {
            let key = self.expr()?;
            self.expect(":")?;
            members.push((key, self.expr()?));
            if !self.skip(",") {
                self.expect("}")?;
                break;
            }
        }
        Some(members)
    }

    fn arguments_if_any(&mut self) -> Option<Arguments> {
        let mut arguments = Arguments::default();
        if !self.skip("(") {
            return Some(arguments);
        }
        while !self.skip(")") {
            let named = self.tokens.get(self.next + 1).is_some_and(|next| next.is("="));
            if named {
                let name = self.word()?;
                self.expect("=")?;
                arguments.named.push((name, self.expr()?));
            } else {
                arguments.plain.push(self.expr()?);
            }
            if !self.skip(",") {
                self.expect(")")?;
                break;
            }
        }
        Some(arguments)
    }

    /// What a test compares with: in parentheses, or one operand behind it.
    fn test_arguments(&mut self) -> Option<Vec<Expr>> {
        let Some(next) = self.peek() else { return Some(Vec::new()) };
        if next.is("(") {
            return Some(self.arguments_if_any()?.plain);
        }
        let operand = match next.kind {
            TokenKind::Word => !["and", "or", "else", "is", "if", "in", "not"].contains(&next.text),
            TokenKind::Number | TokenKind::Text => true,
            TokenKind::Symbol => ["[", "{"].contains(&next.text),
        };
        if operand { Some(vec![self.signed()?]) } else { Some(Vec::new()) }
    }
}
