//! The syntax of `JMESPath`, as Python's package reads it.
//!
//! It differs from the specification where users may rely on it: what follows `.[a, b]` or `.{a: b}` in a projection is for the
//! whole list, and a slice behind an index is no projection.

use super::lexer::{Token, tokens};
use crate::aws::cli::value::Value;

/// Deeper expressions are refused: this recurses.
const MAX_DEPTH: usize = 200;
/// Tokens that bind less end a projection.
const ENDS_PROJECTION: u8 = 10;
const STAR: u8 = 20;
const DOT: u8 = 40;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Current,
    Field(String),
    Literal(Value),
    Index(i64),
    Slice([Option<i64>; 3]),
    /// Each on what the one before has found.
    Chain(Vec<Node>),
    /// A chain that ends in an index.
    Indexed(Vec<Node>),
    Or(Box<Node>, Box<Node>),
    And(Box<Node>, Box<Node>),
    Not(Box<Node>),
    Compare(Token, Box<Node>, Box<Node>),
    Flatten(Box<Node>),
    /// The second on each element of the first.
    Projection(Box<Node>, Box<Node>),
    /// The second on each value of the first.
    Values(Box<Node>, Box<Node>),
    /// The second on each element of the first for which the third is true.
    Filter(Box<Node>, Box<Node>, Box<Node>),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
    Function(String, Vec<Node>),
    /// An expression for a function.
    Reference(Box<Node>),
}

/// Parses an expression.
pub(super) fn parse(text: &str) -> Result<Node, String> {
    let mut parser = Parser {
        tokens: tokens(text)?,
        at: 0,
        depth: 0,
    };
    let node = parser.expression(0)?;
    match parser.current() {
        Token::End => Ok(node),
        _ => Err(parser.unexpected()),
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

fn binding(token: &Token) -> u8 {
    match token {
        Token::Pipe => 1,
        Token::Or => 2,
        Token::And => 3,
        Token::Equal
        | Token::NotEqual
        | Token::Less
        | Token::LessOrEqual
        | Token::Greater
        | Token::GreaterOrEqual => 5,
        Token::Flatten => 9,
        Token::Star => STAR,
        Token::Filter => 21,
        Token::Dot => DOT,
        Token::Not => 45,
        Token::OpenBrace => 50,
        Token::OpenBracket => 55,
        Token::OpenParenthesis => 60,
        _ => 0,
    }
}

fn chain(left: Node, right: Node) -> Node {
    Node::Chain(vec![left, right])
}

impl Parser {
    fn ahead(&self, count: usize) -> &Token {
        self.tokens.get(self.at + count).unwrap_or(&Token::End)
    }

    fn current(&self) -> &Token {
        self.ahead(0)
    }

    fn next(&mut self) -> Token {
        let token = self.current().clone();
        self.at += 1;
        token
    }

    fn unexpected(&self) -> String {
        match self.current() {
            Token::End => "Invalid jmespath expression: Incomplete expression".to_owned(),
            token => format!("Invalid jmespath expression: unexpected token {token:?}"),
        }
    }

    fn expect(&mut self, token: &Token) -> Result<(), String> {
        if self.current() != token {
            return Err(self.unexpected());
        }
        self.at += 1;
        Ok(())
    }

    fn expression(&mut self, least: u8) -> Result<Node, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("the expression nests too deeply".to_owned());
        }
        let mut left = self.prefix()?;
        while least < binding(self.current()) {
            left = self.infix(left)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    /// What an expression may begin with.
    fn prefix(&mut self) -> Result<Node, String> {
        let unexpected = self.unexpected();
        match self.next() {
            Token::Literal(value) => Ok(Node::Literal(value)),
            Token::QuotedName(_) if self.current() == &Token::OpenParenthesis => {
                Err("Quoted identifier not allowed for function names.".to_owned())
            }
            Token::Name(name) | Token::QuotedName(name) => Ok(Node::Field(name)),
            Token::Current => Ok(Node::Current),
            Token::Star => {
                let right = if self.current() == &Token::CloseBracket {
                    Node::Current
                } else {
                    self.projected(STAR)?
                };
                Ok(Node::Values(Box::new(Node::Current), Box::new(right)))
            }
            Token::Filter => self.filter(Node::Current),
            Token::Flatten => self.flatten(Node::Current),
            Token::OpenBrace => self.map(),
            Token::OpenParenthesis => {
                let inner = self.expression(0)?;
                self.expect(&Token::CloseParenthesis)?;
                Ok(inner)
            }
            Token::Not => Ok(Node::Not(Box::new(self.expression(binding(&Token::Not))?))),
            Token::Reference => Ok(Node::Reference(Box::new(self.expression(0)?))),
            Token::OpenBracket => match (self.current(), self.ahead(1)) {
                (Token::Number(_) | Token::Colon, _) => {
                    let index = self.index()?;
                    self.projected_if_slice(Node::Current, index)
                }
                (Token::Star, Token::CloseBracket) => {
                    self.at += 2;
                    let right = self.projected(STAR)?;
                    Ok(Node::Projection(Box::new(Node::Current), Box::new(right)))
                }
                _ => self.list(),
            },
            _ => Err(unexpected),
        }
    }

    /// What may follow an expression, and makes a larger one of it.
    fn infix(&mut self, left: Node) -> Result<Node, String> {
        let unexpected = self.unexpected();
        let token = self.next();
        let power = binding(&token);
        match token {
            Token::Dot if self.current() == &Token::Star => {
                self.at += 1;
                let right = self.projected(DOT)?;
                Ok(Node::Values(Box::new(left), Box::new(right)))
            }
            Token::Dot => Ok(chain(left, self.behind_dot(DOT)?)),
            Token::Pipe => Ok(chain(left, self.expression(power)?)),
            Token::Or => Ok(Node::Or(Box::new(left), Box::new(self.expression(power)?))),
            Token::And => Ok(Node::And(Box::new(left), Box::new(self.expression(power)?))),
            Token::OpenParenthesis => {
                let Node::Field(name) = left else {
                    return Err(unexpected);
                };
                self.function(name)
            }
            Token::Filter => self.filter(left),
            Token::Flatten => self.flatten(left),
            Token::OpenBracket => match self.current() {
                Token::Number(_) | Token::Colon => {
                    let index = self.index()?;
                    if let Node::Indexed(mut nodes) = left {
                        nodes.push(index);
                        return Ok(Node::Indexed(nodes));
                    }
                    self.projected_if_slice(left, index)
                }
                _ => {
                    self.expect(&Token::Star)?;
                    self.expect(&Token::CloseBracket)?;
                    let right = self.projected(STAR)?;
                    Ok(Node::Projection(Box::new(left), Box::new(right)))
                }
            },
            Token::Star | Token::Not | Token::OpenBrace => Err(unexpected),
            comparator => {
                let right = self.expression(power)?;
                Ok(Node::Compare(comparator, Box::new(left), Box::new(right)))
            }
        }
    }

    fn function(&mut self, name: String) -> Result<Node, String> {
        let mut arguments = Vec::new();
        while self.current() != &Token::CloseParenthesis {
            arguments.push(self.expression(0)?);
            if self.current() == &Token::Comma {
                self.at += 1;
            }
        }
        self.at += 1;
        Ok(Node::Function(name, arguments))
    }

    fn filter(&mut self, left: Node) -> Result<Node, String> {
        let condition = self.expression(0)?;
        self.expect(&Token::CloseBracket)?;
        let right = if self.current() == &Token::Flatten {
            Node::Current
        } else {
            self.projected(binding(&Token::Filter))?
        };
        Ok(Node::Filter(
            Box::new(left),
            Box::new(right),
            Box::new(condition),
        ))
    }

    fn flatten(&mut self, left: Node) -> Result<Node, String> {
        let right = self.projected(binding(&Token::Flatten))?;
        let flat = Node::Flatten(Box::new(left));
        Ok(Node::Projection(Box::new(flat), Box::new(right)))
    }

    /// `1]` or `1:2:3]`.
    fn index(&mut self) -> Result<Node, String> {
        if let (Token::Number(index), Token::CloseBracket) = (self.current(), self.ahead(1)) {
            let index = *index;
            self.at += 2;
            return Ok(Node::Index(index));
        }
        let mut parts = [None; 3];
        let mut part = 0;
        loop {
            match self.current() {
                Token::CloseBracket if part > 0 => break,
                Token::Colon if part < 2 => part += 1,
                Token::Number(number) => parts[part] = Some(*number),
                _ => return Err(self.unexpected()),
            }
            self.at += 1;
        }
        self.at += 1;
        Ok(Node::Slice(parts))
    }

    fn projected_if_slice(&mut self, left: Node, index: Node) -> Result<Node, String> {
        let is_slice = matches!(index, Node::Slice(_));
        let indexed = Node::Indexed(vec![left, index]);
        if !is_slice {
            return Ok(indexed);
        }
        let right = self.projected(STAR)?;
        Ok(Node::Projection(Box::new(indexed), Box::new(right)))
    }

    /// What is for each element.
    fn projected(&mut self, least: u8) -> Result<Node, String> {
        match self.current() {
            token if binding(token) < ENDS_PROJECTION => Ok(Node::Current),
            Token::OpenBracket | Token::Filter => self.expression(least),
            Token::Dot => {
                self.at += 1;
                self.behind_dot(least)
            }
            _ => Err(self.unexpected()),
        }
    }

    fn behind_dot(&mut self, least: u8) -> Result<Node, String> {
        match self.current() {
            Token::Name(_) | Token::QuotedName(_) | Token::Star => self.expression(least),
            Token::OpenBracket => {
                self.at += 1;
                self.list()
            }
            Token::OpenBrace => {
                self.at += 1;
                self.map()
            }
            _ => Err(self.unexpected()),
        }
    }

    fn list(&mut self) -> Result<Node, String> {
        let mut nodes = Vec::new();
        loop {
            nodes.push(self.expression(0)?);
            if self.current() == &Token::CloseBracket {
                self.at += 1;
                return Ok(Node::List(nodes));
            }
            self.expect(&Token::Comma)?;
        }
    }

    fn map(&mut self) -> Result<Node, String> {
        let mut pairs = Vec::new();
        loop {
            let unexpected = self.unexpected();
            let (Token::Name(key) | Token::QuotedName(key)) = self.next() else {
                return Err(unexpected);
            };
            self.expect(&Token::Colon)?;
            pairs.push((key, self.expression(0)?));
            match self.current() {
                Token::Comma => self.at += 1,
                Token::CloseBrace => {
                    self.at += 1;
                    return Ok(Node::Map(pairs));
                }
                _ => {}
            }
        }
    }
}
