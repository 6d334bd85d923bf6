//! Rewrites a filter where jaq means something else than jq by it.
//!
//! ```text
//! l = r          an assignment makes what is missing on the way, and so do |=, += and their kin
//! l / r, l % r   a division by zero is an error, and a remainder is one of whole numbers
//! .[1.5], .[:n]  a fraction is an index, too, null has slices, and an object has no .[0]
//! "\(f)"         numbers are written as jq writes them
//! {(f): v}       only a string is a key
//! try .. catch   errors are in jq's words
//! $__loc__       is known
//! as P ?// Q     patterns have alternatives
//! ```
//!
//! The functions that take their place are in `definitions.jq`; their names begin with an underscore.

use std::cell::Cell;

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::ops::Math;
use jaq_core::path::{Opt, Part, Path};

use super::alternatives::{Alternatives, push_variables};

/// The input of an assignment. No filter names it.
const INPUT: &str = "$__input";
/// The value of an assignment.
const VALUE: &str = "$__value";

/// What patterns with alternatives are for.
const MATCHED: &str = "$__matched";
/// The operands of a division.
const DIVIDEND: &str = "$__dividend";
const DIVISOR: &str = "$__divisor";

/// The filter `term`, which was read from the text of `alternatives`. `None` if patterns have alternatives where that is not
/// possible.
pub(crate) fn rewrite<'s>(
    alternatives: &'s Alternatives,
    term: Term<&'s str>,
) -> Option<Term<&'s str>> {
    let rewriter = Rewriter {
        alternatives,
        used: Cell::new(0),
    };
    let term = rewriter.term(term);
    (rewriter.used.get() == alternatives.len()).then_some(term)
}

struct Rewriter<'s> {
    alternatives: &'s Alternatives,
    /// How many patterns got their alternatives.
    used: Cell<usize>,
}

fn call<'s>(name: &'s str, arguments: Vec<Term<&'s str>>) -> Term<&'s str> {
    Term::Call(name, arguments)
}

fn pipe<'s>(left: Term<&'s str>, right: Term<&'s str>) -> Term<&'s str> {
    Term::BinOp(left.into(), BinaryOp::Pipe(None), right.into())
}

fn bind<'s>(left: Term<&'s str>, name: &'s str, right: Term<&'s str>) -> Term<&'s str> {
    let pattern = Some(Pattern::Var(name));
    Term::BinOp(left.into(), BinaryOp::Pipe(pattern), right.into())
}

fn text(text: &str) -> Term<&str> {
    Term::Str(None, vec![StrPart::Str(text)])
}

/// Whether a part of a path gives the same for every input.
fn is_constant(term: &Term<&str>) -> bool {
    match term {
        Term::Num(_) | Term::Var(_) => true,
        Term::Neg(term) => is_constant(term),
        Term::Str(None, parts) => parts
            .iter()
            .all(|part| matches!(part, StrPart::Str(_) | StrPart::Char(_))),
        _ => false,
    }
}

/// Whether it is a whole number, or a string.
fn is_plain_index(term: &Term<&str>) -> bool {
    match term {
        Term::Num(number) => number.bytes().all(|byte| byte.is_ascii_digit()),
        Term::Neg(term) => is_plain_index(term),
        Term::Str(..) => true,
        _ => false,
    }
}

impl<'s> Rewriter<'s> {
    // It comes in a box.
    #[allow(clippy::boxed_local)]
    fn boxed(&self, term: Box<Term<&'s str>>) -> Box<Term<&'s str>> {
        Box::new(self.term(*term))
    }

    fn all(&self, terms: Vec<Term<&'s str>>) -> Vec<Term<&'s str>> {
        terms.into_iter().map(|term| self.term(term)).collect()
    }

    fn term(&self, term: Term<&'s str>) -> Term<&'s str> {
        match term {
            Term::Str(format, parts) => self.string(format, parts),
            Term::Arr(Some(term)) => Term::Arr(Some(self.boxed(term))),
            Term::Obj(members) => Term::Obj(
                members
                    .into_iter()
                    .map(|member| self.member(member))
                    .collect(),
            ),
            Term::Neg(term) => Term::Neg(self.boxed(term)),
            Term::BinOp(left, operator, right) => {
                self.binary(self.term(*left), operator, self.term(*right))
            }
            Term::Label(name, term) => Term::Label(name, self.boxed(term)),
            Term::Fold(kind, term, pattern, rest) => Term::Fold(
                kind,
                self.boxed(term),
                self.pattern(pattern),
                self.all(rest),
            ),
            Term::TryCatch(term, catch) => Term::TryCatch(
                self.boxed(term),
                catch.map(|catch| Box::new(pipe(call("_message", Vec::new()), self.term(*catch)))),
            ),
            Term::IfThenElse(branches, otherwise) => {
                let branch = |(condition, then)| (self.term(condition), self.term(then));
                let branches = branches.into_iter().map(branch).collect();
                Term::IfThenElse(branches, otherwise.map(|otherwise| self.boxed(otherwise)))
            }
            Term::Def(definitions, term) => {
                let definition = |Def { name, args, body }| Def {
                    name,
                    args,
                    body: self.term(body),
                };
                let definitions = definitions.into_iter().map(definition).collect();
                Term::Def(definitions, self.boxed(term))
            }
            Term::Call(name, arguments) => Term::Call(name, self.all(arguments)),
            Term::Var("$__loc__") => self.location("$__loc__"),
            Term::Var(name) if name == "$__loc__" => self.location(name),
            Term::Path(head, path) => self.path(self.term(*head), path.0),
            other => other,
        }
    }

    fn string(
        &self,
        format: Option<&'s str>,
        parts: Vec<StrPart<&'s str, Term<&'s str>>>,
    ) -> Term<&'s str> {
        let part = |part| match part {
            StrPart::Term(term) if format.is_none() => {
                StrPart::Term(pipe(self.term(term), call("_text", Vec::new())))
            }
            StrPart::Term(term) => StrPart::Term(self.term(term)),
            other => other,
        };
        Term::Str(format, parts.into_iter().map(part).collect())
    }

    fn member(
        &self,
        (name, value): (Term<&'s str>, Option<Term<&'s str>>),
    ) -> (Term<&'s str>, Option<Term<&'s str>>) {
        match (name, value) {
            (Term::Var(name), None) if name == "$__loc__" => {
                (text("__loc__"), Some(self.location(name)))
            }
            // `{$x}` and `{a}`
            (name @ (Term::Var(_) | Term::Str(..)), value) => {
                let name = match name {
                    Term::Str(..) => self.term(name),
                    other => other,
                };
                (name, value.map(|value| self.term(value)))
            }
            (name, value) => {
                let name = pipe(self.term(name), call("_key", Vec::new()));
                (name, value.map(|value| self.term(value)))
            }
        }
    }

    fn pattern(&self, pattern: Pattern<&'s str>) -> Pattern<&'s str> {
        match pattern {
            Pattern::Var(name) => Pattern::Var(name),
            Pattern::Arr(patterns) => Pattern::Arr(
                patterns
                    .into_iter()
                    .map(|pattern| self.pattern(pattern))
                    .collect(),
            ),
            Pattern::Obj(members) => {
                let member = |(name, pattern)| {
                    let name = match name {
                        Term::Var(_) => name,
                        name => self.term(name),
                    };
                    (name, self.pattern(pattern))
                };
                Pattern::Obj(members.into_iter().map(member).collect())
            }
        }
    }

    fn binary(
        &self,
        left: Term<&'s str>,
        operator: BinaryOp<&'s str>,
        right: Term<&'s str>,
    ) -> Term<&'s str> {
        match operator {
            BinaryOp::Pipe(Some(pattern)) => {
                let others = self.alternatives.of(&pattern);
                if !others.is_empty() {
                    return self.try_patterns(left, pattern, others, &right);
                }
                let pattern = Some(self.pattern(pattern));
                Term::BinOp(left.into(), BinaryOp::Pipe(pattern), right.into())
            }
            BinaryOp::Math(operator @ (Math::Div | Math::Rem)) => divide(left, operator, right),
            BinaryOp::Assign => {
                let value = Term::Var(VALUE);
                let ours = call("_assign", vec![left.clone(), value.clone()]);
                let assign = Term::BinOp(left.into(), BinaryOp::Assign, value.into());
                bind(Term::Id, INPUT, bind(right, VALUE, or_else(assign, ours)))
            }
            BinaryOp::Update => update(left, right),
            BinaryOp::UpdateMath(operator) => {
                let value = Term::Var(VALUE);
                let changed = match operator {
                    Math::Div | Math::Rem => divide(Term::Id, operator, value),
                    _ => Term::BinOp(Term::Id.into(), BinaryOp::Math(operator), value.into()),
                };
                bind(right, VALUE, update(left, changed))
            }
            BinaryOp::UpdateAlt => {
                let value = Term::Var(VALUE);
                let changed = Term::BinOp(Term::Id.into(), BinaryOp::Alt, value.into());
                bind(right, VALUE, update(left, changed))
            }
            other => Term::BinOp(left.into(), other, right.into()),
        }
    }

    /// Takes the next pattern if the one before, or the filter behind it, fails. The variables of the others are null.
    fn try_patterns(
        &self,
        left: Term<&'s str>,
        first: Pattern<&'s str>,
        others: Vec<Pattern<&'s str>>,
        right: &Term<&'s str>,
    ) -> Term<&'s str> {
        self.used.set(self.used.get() + 1);
        let patterns: Vec<_> = std::iter::once(first).chain(others).collect();
        let mut names = Vec::new();
        for pattern in &patterns {
            push_variables(pattern, &mut names);
        }
        let attempt = |pattern| {
            let matched = match pattern {
                // jaq finds null at every place of an object.
                Pattern::Arr(_) => pipe(Term::Var(MATCHED), call("_nonnumber", Vec::new())),
                _ => Term::Var(MATCHED),
            };
            let pattern = BinaryOp::Pipe(Some(self.pattern(pattern)));
            let bound = Term::BinOp(matched.into(), pattern, right.clone().into());
            names.iter().fold(bound, |term, name| {
                bind(call("null", Vec::new()), name, term)
            })
        };
        let attempts = patterns.into_iter().map(attempt).rev();
        let all = attempts.reduce(|rest, attempt| {
            let rest = pipe(Term::Var(INPUT), rest);
            Term::TryCatch(attempt.into(), Some(rest.into()))
        });
        bind(
            left,
            MATCHED,
            bind(Term::Id, INPUT, all.unwrap_or_default()),
        )
    }

    /// A path with fractions as indices, and slices of null.
    fn path(&self, head: Term<&'s str>, parts: Vec<(Part<Term<&'s str>>, Opt)>) -> Term<&'s str> {
        let bound = |term: Option<Term<&'s str>>, name| {
            let term = term.map(|term| self.term(term))?;
            Some(if is_plain_index(&term) {
                term
            } else {
                pipe(term, call(name, Vec::new()))
            })
        };
        let is_special = parts
            .iter()
            .any(|(part, _)| is_slice(part) || is_number(part));
        let is_split = is_special
            && parts.iter().all(|(part, _)| match part {
                Part::Index(term) => is_constant(term),
                Part::Range(from, to) => from.iter().chain(to).all(is_constant),
            });
        let parts = parts.into_iter().map(|(part, optional)| {
            let part = match part {
                Part::Index(term) => Part::Index(bound(Some(term), "_index").unwrap_or_default()),
                Part::Range(from, to) => Part::Range(bound(from, "_start"), bound(to, "_end")),
            };
            (part, optional)
        });
        let parts: Vec<_> = parts.collect();
        if !is_split {
            return Term::Path(head.into(), Path(parts));
        }
        parts.into_iter().fold(head, |head, part| {
            let (is_slice, is_number) = (is_slice(&part.0), is_number(&part.0));
            let optional = part.1;
            let path = Term::Path(Term::Id.into(), Path(vec![part]));
            let is_null = Term::BinOp(
                Term::Id.into(),
                BinaryOp::Cmp(jaq_core::ops::Cmp::Eq),
                call("null", Vec::new()).into(),
            );
            let path = if is_slice {
                Term::IfThenElse(vec![(is_null, Term::Id)], Some(path.into()))
            } else if is_number {
                let check = call("_nonnumber", Vec::new());
                let check = match optional {
                    Opt::Optional => Term::TryCatch(check.into(), None),
                    Opt::Essential => check,
                };
                pipe(check, path)
            } else {
                path
            };
            pipe(head, path)
        })
    }

    fn location(&self, name: &'s str) -> Term<&'s str> {
        let at = (name.as_ptr() as usize).checked_sub(self.alternatives.text.as_ptr() as usize);
        let before = at
            .and_then(|at| self.alternatives.text.get(..at))
            .unwrap_or_default();
        let lines = before.matches('\n').count();
        let line = (0..lines).fold(Term::Num("1"), |line, _| {
            Term::BinOp(
                line.into(),
                BinaryOp::Math(Math::Add),
                Term::Num("1").into(),
            )
        });
        Term::Obj(vec![
            (text("file"), Some(text("<top-level>"))),
            (text("line"), Some(line)),
        ])
    }
}

fn is_number(part: &Part<Term<&str>>) -> bool {
    match part {
        Part::Index(Term::Neg(term)) => matches!(**term, Term::Num(_)),
        Part::Index(term) => matches!(term, Term::Num(_)),
        Part::Range(..) => false,
    }
}

fn is_slice(part: &Part<Term<&str>>) -> bool {
    matches!(part, Part::Range(from, to) if from.is_some() || to.is_some())
}

fn divide<'s>(left: Term<&'s str>, operator: Math, right: Term<&'s str>) -> Term<&'s str> {
    let is_safe = matches!(&right, Term::Num(number) if number.bytes().any(|byte| matches!(byte, b'1'..=b'9')));
    if operator == Math::Div && is_safe {
        return Term::BinOp(left.into(), BinaryOp::Math(operator), right.into());
    }
    let name = match operator {
        Math::Div => "_divide",
        _ => "_remainder",
    };
    // A call would take both from the left, and jq takes the right one first.
    let operands = vec![Term::Var(DIVIDEND), Term::Var(DIVISOR)];
    bind(right, DIVISOR, bind(left, DIVIDEND, call(name, operands)))
}

fn update<'s>(left: Term<&'s str>, right: Term<&'s str>) -> Term<&'s str> {
    let ours = call("_modify", vec![left.clone(), right.clone()]);
    let update = Term::BinOp(left.into(), BinaryOp::Update, right.into());
    bind(Term::Id, INPUT, or_else(update, ours))
}

/// jaq's own way, which is faster, and ours if that fails.
fn or_else<'s>(first: Term<&'s str>, second: Term<&'s str>) -> Term<&'s str> {
    let second = pipe(Term::Var(INPUT), second);
    Term::TryCatch(first.into(), Some(second.into()))
}
