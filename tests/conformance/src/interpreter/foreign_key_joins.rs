//! Joins of tables by a key taken from the left one's values.

use super::options::{Kept, kept, partitions};
use super::tables::{Rows, Table, either_rows};
use super::{Handle, Outcome, downcast, not_interpreted, returns};
use crate::functions::{self, Joiner, Mapper, Seen};
use crate::step::{Step, Wrong};
use crate::values::{AnyKey, AnyValue, Key};
use streams_core::serdes::default_serde;
use streams_core::{History, KTable, Materialized, RowState, TableJoined};

pub(super) fn step<K: AnyKey, V: AnyValue>(
    of: &Table<K, V>,
    op: &str,
    step: Step<'_>,
    with: &Handle,
) -> Outcome {
    if let Some(result) = join::<K, V, String>(of, op, step, with)? {
        return Ok(Some(result));
    }
    match join::<K, V, i64>(of, op, step, with)? {
        Some(result) => Ok(Some(result)),
        None => not_interpreted(op, "a table by foreign key with a table of windowed keys"),
    }
}

/// `None` if the other side is no such table.
fn join<K: AnyKey, V: AnyValue, V2: AnyValue>(
    of: &Table<K, V>,
    op: &str,
    step: Step<'_>,
    with: &Handle,
) -> Outcome {
    let Some(other) = downcast::<Table<Key, V2>>(with) else {
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
    other: &KTable<Key, V2, T>,
) -> Outcome {
    let name = step.required("fn")?;
    if functions::may_be_null(name) || (name == "right" && op == "left_join") {
        return not_interpreted(name, "a join of tables");
    }
    let is_left = match op {
        "join" => false,
        "left_join" => true,
        _ => return Err(Wrong::new("there is no outer join by foreign key")),
    };
    let join = Join {
        foreign_key: functions::mapper(step.required("foreign_key_fn")?)?,
        joiner: functions::joiner(name)?,
        is_left,
    };
    let joined = table_joined(step)?;
    returns(
        either_rows!(of, step, table => match kept::<String>(step)? {
            None => {
                let kept = Materialized::new().with_value(default_serde::<String>());
                Table::new(join.of(&table, other, joined, kept), of.keys)
            }
            Some(Kept::Latest(kept)) => Table::new(join.of(&table, other, joined, kept), of.keys),
            Some(Kept::History(kept)) => Table::new(join.of(&table, other, joined, kept), of.keys),
        }),
    )
}

struct Join {
    foreign_key: Mapper,
    joiner: Joiner,
    is_left: bool,
}

impl Join {
    fn of<K: AnyKey, V: AnyValue, T: RowState, V2: AnyValue, T2: RowState, H: History>(
        self,
        this: &KTable<K, V, T>,
        other: &KTable<Key, V2, T2>,
        joined: TableJoined<K, V, Key, V2>,
        kept: Materialized<streams_core::Given<String>, H>,
    ) -> KTable<K, String, H::Rows<streams_core::Deletable>> {
        let Join {
            foreign_key,
            joiner,
            is_left,
        } = self;
        let foreign_key = move |key: &K, value: &V| {
            let foreign_key = foreign_key(&Seen::of(key, Some(value)));
            foreign_key.map(|key| Key(Some(key)))
        };
        let joiner = move |left: &V, right: Option<&V2>| {
            let (left, right) = (left.text(), right.map(AnyValue::text));
            joiner(None, Some(&left), right.as_deref()).unwrap_or_default()
        };
        match is_left {
            true => this.left_join_foreign_key_with(other, foreign_key, joiner, joined, kept),
            false => {
                let joiner = move |left: &V, right: &V2| joiner(left, Some(right));
                this.join_foreign_key_with(other, foreign_key, joiner, joined, kept)
            }
        }
    }
}

fn table_joined<K: AnyKey, V: AnyValue, V2: AnyValue>(
    step: Step<'_>,
) -> Result<TableJoined<K, V, Key, V2>, Wrong> {
    let options = step.options("table_joined");
    let mut joined = TableJoined::new();
    if let Some(name) = options.text("name") {
        joined = joined.named(name);
    }
    if let Some(name) = options.text("partitioner") {
        let chosen = partitions(name)?;
        joined = joined.with_partitioner(move |_: &str, _: &K, _: &(), _| chosen.clone());
    }
    if let Some(name) = options.text("other_partitioner") {
        let chosen = partitions(name)?;
        joined = joined.with_other_partitioner(move |_: &str, _: &Key, _: &(), _| chosen.clone());
    }
    Ok(joined)
}
