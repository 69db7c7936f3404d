//! Joins of tables.

use super::options::kept;
use super::tables::{Rows, Table, either_rows, kept_or_not};
use super::{Handle, Interpreter, Outcome, downcast, foreign_key_joins, not_interpreted, returns};
use crate::functions;
use crate::step::Step;
use crate::values::{AnyKey, AnyValue};
use streams_core::{KTable, RowState};

pub(super) fn step<K: AnyKey, V: AnyValue>(
    of: &Table<K, V>,
    op: &str,
    step: Step<'_>,
    all: &Interpreter,
) -> Outcome {
    let with = all.handle(step.required("with")?)?;
    if step.has("foreign_key_fn") {
        return foreign_key_joins::step(of, op, step, &with);
    }
    if let Some(result) = join::<K, V, String>(of, op, step, &with)? {
        return Ok(Some(result));
    }
    match join::<K, V, i64>(of, op, step, &with)? {
        Some(result) => Ok(Some(result)),
        None => not_interpreted(op, "a table and something else"),
    }
}

/// `None` if the other side is no such table.
fn join<K: AnyKey, V: AnyValue, V2: AnyValue>(
    of: &Table<K, V>,
    op: &str,
    step: Step<'_>,
    with: &Handle,
) -> Outcome {
    let Some(other) = downcast::<Table<K, V2>>(with) else {
        return Ok(None);
    };
    match &other.rows {
        Rows::Deletable(other) => with_table(of, op, step, other),
        Rows::Versioned(other) => with_table(of, op, step, other),
    }
}

fn with_table<K: AnyKey, V: AnyValue, V2: AnyValue, T: RowState>(
    of: &Table<K, V>,
    op: &str,
    step: Step<'_>,
    other: &KTable<K, V2, T>,
) -> Outcome {
    let name = step.required("fn")?;
    if functions::may_be_null(name) || matches!(name, "left" | "right") {
        return not_interpreted(name, "a join of tables");
    }
    let joiner = functions::joiner(name)?;
    let joiner = move |left: Option<&V>, right: Option<&V2>| {
        let (left, right) = (left.map(AnyValue::text), right.map(AnyValue::text));
        joiner(None, left.as_deref(), right.as_deref()).unwrap_or_default()
    };
    let kept = kept::<String>(step)?;
    returns(either_rows!(of, step, table => match op {
        "join" => {
            let joiner = move |left: &V, right: &V2| joiner(Some(left), Some(right));
            kept_or_not!(kept, of.keys, table.join(other, joiner), kept => table.join_with(other, joiner, kept))
        }
        "left_join" => {
            let joiner = move |left: &V, right: Option<&V2>| joiner(Some(left), right);
            kept_or_not!(kept, of.keys, table.left_join(other, joiner), kept => table.left_join_with(other, joiner, kept))
        }
        _ => kept_or_not!(kept, of.keys, table.outer_join(other, joiner), kept => table.outer_join_with(other, joiner, kept)),
    }))
}
