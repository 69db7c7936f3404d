//! The left table's side: each change of a row becomes instructions for the rows it referred to and refers to now.

use super::JoinKind;
use super::murmur3::hash128;
use super::subscription::{Instruction, Subscription};
use crate::error::Result;
use crate::operators::{Change, StreamChildren, TableOperator};
use crate::record::Record;
use crate::serdes::BoxSerde;
use crate::task::context::Context;
use std::sync::Arc;

/// Kafka's `SubscriptionSendProcessorSupplier`, with the rules of 4.1 and later (KAFKA-16394, KAFKA-18713).
pub(crate) struct SubscriptionSend<F, K, V, KO> {
    foreign_key_of: Arc<F>,
    kind: JoinKind,
    /// Whether the table is versioned: then only the latest version of each row is joined (KIP-914).
    only_latest: bool,
    key: BoxSerde<K>,
    value: BoxSerde<V>,
    foreign_key: BoxSerde<KO>,
    old_bytes: Vec<u8>,
    new_bytes: Vec<u8>,
    value_bytes: Vec<u8>,
    /// What is sent, kept for its allocation.
    subscription: Subscription<K>,
    children: StreamChildren<Option<KO>, Subscription<K>>,
}

/// What is sent to the old foreign key and to the new one.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    old: Option<Instruction>,
    new: Option<Instruction>,
}

/// How a left row has changed, as far as it matters.
#[derive(Clone, Copy)]
struct Transition {
    /// Whether it referred to a row before.
    had_foreign_key: bool,
    /// Whether it exists now.
    has_value: bool,
    /// Whether it refers to a row now.
    has_foreign_key: bool,
    /// Whether it refers to another row now, or to none.
    foreign_key_changed: bool,
}

impl Plan {
    /// Each change of a row needs a response, so that there is a result; none is wanted from the row it referred to before.
    fn left(change: Transition) -> Plan {
        Plan {
            old: (change.had_foreign_key && change.foreign_key_changed)
                .then_some(Instruction::DeleteKeyNoPropagate),
            new: Some(Instruction::PropagateNullIfNoForeignValue),
        }
    }

    /// A response that there is no row is needed only where there may be a result to delete.
    fn inner(change: Transition) -> Plan {
        if !change.has_value || !change.has_foreign_key {
            let old = change
                .had_foreign_key
                .then_some(Instruction::DeleteKeyAndPropagate);
            return Plan { old, new: None };
        }
        match change.had_foreign_key && change.foreign_key_changed {
            true => Plan {
                old: Some(Instruction::DeleteKeyNoPropagate),
                new: Some(Instruction::PropagateNullIfNoForeignValue),
            },
            false => Plan {
                old: None,
                new: Some(Instruction::PropagateOnlyIfForeignValue),
            },
        }
    }
}

impl<F, K, V, KO> SubscriptionSend<F, K, V, KO>
where
    F: Fn(&K, &V) -> Option<KO>,
    K: 'static,
    V: 'static,
    KO: 'static,
{
    pub(crate) fn new(
        foreign_key_of: Arc<F>,
        kind: JoinKind,
        only_latest: bool,
        (key, value): (BoxSerde<K>, BoxSerde<V>),
        foreign_key: BoxSerde<KO>,
        children: StreamChildren<Option<KO>, Subscription<K>>,
    ) -> Self {
        SubscriptionSend {
            foreign_key_of,
            kind,
            only_latest,
            key,
            value,
            foreign_key,
            old_bytes: Vec::new(),
            new_bytes: Vec::new(),
            value_bytes: Vec::new(),
            subscription: Subscription::new(),
            children,
        }
    }

    /// What subscriptions say of the row itself.
    fn describe_row(&mut self, change: Change<'_, K, V>, context: &Context) -> Result<()> {
        self.subscription.partition = Some(context.id.partition);
        self.subscription.key_bytes.clear();
        self.key
            .serialize(change.key, &mut self.subscription.key_bytes)?;
        self.subscription.hash = match change.new {
            None => None,
            Some(value) => {
                self.value_bytes.clear();
                self.value
                    .serialize_nullable(value, &mut self.value_bytes)?;
                Some(hash128(&self.value_bytes))
            }
        };
        Ok(())
    }
}

/// The foreign key of a row, if it has one that is not null, with its bytes.
fn extract<K, V, KO: 'static>(
    foreign_key_of: &impl Fn(&K, &V) -> Option<KO>,
    key: &K,
    value: &Option<V>,
    serde: &BoxSerde<KO>,
    bytes: &mut Vec<u8>,
) -> Result<Option<KO>> {
    bytes.clear();
    match value.as_ref().and_then(|value| foreign_key_of(key, value)) {
        Some(foreign_key) if serde.serialize_nullable(&foreign_key, bytes)? => {
            Ok(Some(foreign_key))
        }
        _ => Ok(None),
    }
}

impl<F, K, V, KO> TableOperator<K, V> for SubscriptionSend<F, K, V, KO>
where
    F: Fn(&K, &V) -> Option<KO>,
    K: 'static,
    V: 'static,
    KO: 'static,
{
    fn process(&mut self, change: Change<'_, K, V>, context: &mut Context) -> Result<()> {
        if self.only_latest && !change.is_latest {
            context.drop_record("its table has a later version of this row");
            return Ok(());
        }
        if change.old.is_none() && change.new.is_none() {
            return Ok(());
        }
        let (of, serde) = (&*self.foreign_key_of, &self.foreign_key);
        let old = extract(of, change.key, change.old, serde, &mut self.old_bytes)?;
        let new = extract(of, change.key, change.new, serde, &mut self.new_bytes)?;
        let transition = Transition {
            had_foreign_key: old.is_some(),
            has_value: change.new.is_some(),
            has_foreign_key: new.is_some(),
            foreign_key_changed: old.is_some() != new.is_some() || self.old_bytes != self.new_bytes,
        };
        let plan = match self.kind {
            JoinKind::Inner => Plan::inner(transition),
            JoinKind::Left => Plan::left(transition),
        };
        if self.kind == JoinKind::Inner && transition.has_value && !transition.has_foreign_key {
            context.drop_record("its foreign key is null, so it has no result");
        }
        if plan == Plan::default() {
            return Ok(());
        }
        self.describe_row(change, context)?;
        for (foreign_key, instruction) in [(&old, plan.old), (&new, plan.new)] {
            if let Some(instruction) = instruction {
                self.subscription.instruction = instruction;
                let record = Record::new(
                    foreign_key,
                    &self.subscription,
                    change.timestamp,
                    change.headers,
                );
                self.children.forward(record, context)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Instruction::{
        DeleteKeyAndPropagate as Delete, DeleteKeyNoPropagate as Forget,
        PropagateNullIfNoForeignValue as Answer, PropagateOnlyIfForeignValue as AnswerIfThere,
    };
    use super::*;

    /// From one row to another: no row, a row without foreign key (`""`), or one with it.
    fn transition(before: Option<&str>, after: Option<&str>) -> Transition {
        let key = |row: Option<&'static str>| row.filter(|key| !key.is_empty());
        let own = |row: Option<&str>| match row {
            Some("a") => Some("a"),
            Some("b") => Some("b"),
            Some(_) => Some(""),
            None => None,
        };
        let (before, after) = (own(before), own(after));
        Transition {
            had_foreign_key: key(before).is_some(),
            has_value: after.is_some(),
            has_foreign_key: key(after).is_some(),
            foreign_key_changed: key(before) != key(after),
        }
    }

    /// The cases of Kafka's `SubscriptionSendProcessorSupplierTest`.
    #[test]
    fn instructions_of_an_inner_join_are_javas() {
        for (before, after, old, new) in [
            (None, Some("a"), None, Some(AnswerIfThere)),
            (Some(""), Some("a"), None, Some(AnswerIfThere)),
            (Some("a"), Some("a"), None, Some(AnswerIfThere)),
            (Some("a"), Some("b"), Some(Forget), Some(Answer)),
            (Some("a"), Some(""), Some(Delete), None),
            (Some("a"), None, Some(Delete), None),
            (None, Some(""), None, None),
            (Some(""), Some(""), None, None),
            (Some(""), None, None, None),
        ] {
            let plan = Plan::inner(transition(before, after));
            assert_eq!(plan, Plan { old, new }, "{before:?} to {after:?}");
        }
    }

    #[test]
    fn instructions_of_a_left_join_are_javas() {
        for (before, after, old) in [
            (None, Some("a"), None),
            (Some(""), Some("a"), None),
            (Some("a"), Some("a"), None),
            (Some("a"), Some("b"), Some(Forget)),
            (Some("a"), Some(""), Some(Forget)),
            (Some("a"), None, Some(Forget)),
            (None, Some(""), None),
            (Some(""), Some(""), None),
            (Some(""), None, None),
        ] {
            let plan = Plan::left(transition(before, after));
            let new = Some(Answer);
            assert_eq!(plan, Plan { old, new }, "{before:?} to {after:?}");
        }
    }
}
