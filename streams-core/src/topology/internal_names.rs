//! Stores and topics whose names were generated (KIP-1111): they change when the topology does, and their content is lost then.

use super::store::StoreDefinition;
use crate::error::{Error, Result};
use std::collections::BTreeSet;

/// What Kafka's `InternalTopologyBuilder#checkUnprovidedNames` lists.
#[derive(Default)]
pub(crate) struct InternalNames {
    /// Every name that was generated, of nodes and of stores.
    generated: BTreeSet<String>,
    changelogs: Vec<String>,
    stores: Vec<String>,
    repartition_topics: Vec<String>,
}

impl InternalNames {
    /// A name was made up.
    pub(super) fn generated(&mut self, name: &str) {
        self.generated.insert(name.to_owned());
    }

    /// A store was added.
    pub(super) fn store(&mut self, store: &StoreDefinition) {
        let name = &store.name;
        // What belongs to an operation is called after its node.
        let base = name
            .strip_suffix("-store")
            .or_else(|| name.strip_suffix("-Buffer"))
            .unwrap_or(name);
        // Java calls the store of unmatched records after the number of the join's first node.
        let shared = base.strip_prefix("KSTREAM-OUTERSHARED-");
        let is_generated = self.generated.contains(base)
            || shared.is_some_and(|number| self.generated.iter().any(|one| one.ends_with(number)));
        // The subscriptions of a foreign-key join are not on Java's list.
        if !is_generated || base.starts_with("KTABLE-FK-JOIN-SUBSCRIPTION-") {
            return;
        }
        if store.changelog.is_some() {
            self.changelog(name);
        }
        // Java lists the changelog of a suppression, but not its buffer.
        if !base.starts_with("KTABLE-SUPPRESS-") {
            self.stores.push(name.clone());
        }
    }

    /// A global table's store was added: Java takes it for a logged one while it lists names.
    pub(super) fn global_store(&mut self, name: &str) {
        if self.generated.contains(name) {
            self.changelog(name);
            self.stores.push(name.to_owned());
        }
    }

    fn changelog(&mut self, store: &str) {
        self.changelogs.push(format!("{store}-changelog"));
    }

    /// A repartition topic was added, `<base>-repartition`.
    pub(super) fn repartition_topic(&mut self, name: &str) {
        let base = name.strip_suffix("-repartition").unwrap_or(name);
        if self.generated.contains(base) {
            self.implicit_repartition_topic(name);
        }
    }

    /// A repartition topic was called after a node because it got no name of its own.
    pub(super) fn implicit_repartition_topic(&mut self, name: &str) {
        if !self.repartition_topics.iter().any(|known| known == name) {
            self.repartition_topics.push(name.to_owned());
        }
    }

    /// # Errors
    /// When there are generated names and there are to be none.
    pub(super) fn check(&self, explicit: bool) -> Result<()> {
        let lists = [
            ("changelog topic(s)", &self.changelogs),
            ("state store(s)", &self.stores),
            ("repartition topic(s)", &self.repartition_topics),
        ];
        let missing: String = lists
            .into_iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(kind, names)| {
                let names = names.join(", ");
                format!("Following {kind} has not been named: {names}\n")
            })
            .collect();
        match missing.is_empty() || !explicit {
            true => Ok(()),
            false => Err(Error::topology(format!(
                "{missing}ensure.explicit.internal.resource.naming is true: name them with `Materialized::named`, `Grouped::named`, `Joined::named` and their kind"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Consumed, Grouped, Materialized, StreamsBuilder, StreamsConfig};

    fn explicit() -> StreamsConfig {
        StreamsConfig::new("app")
            .set("ensure.explicit.internal.resource.naming", "true")
            .unwrap()
    }

    #[test]
    fn every_generated_name_is_listed() {
        let builder = StreamsBuilder::new();
        builder
            .stream::<String, String>("a", Consumed::new())
            .group_by(|_, value| value.clone(), Grouped::new())
            .count();
        let error = builder.build_with(&explicit()).unwrap_err().to_string();
        assert!(
            error.starts_with(
                "Following changelog topic(s) has not been named: KSTREAM-AGGREGATE-STATE-STORE-0000000002-changelog\n\
                 Following state store(s) has not been named: KSTREAM-AGGREGATE-STATE-STORE-0000000002\n\
                 Following repartition topic(s) has not been named: KSTREAM-AGGREGATE-STATE-STORE-0000000002-repartition\n"
            ),
            "{error}"
        );
    }

    #[test]
    fn named_stores_and_topics_are_fine() {
        let builder = StreamsBuilder::new();
        builder
            .stream::<String, String>("a", Consumed::new())
            .group_by(|_, value| value.clone(), Grouped::new().named("by-value"))
            .count_with(Materialized::named("counts"));
        builder.build_with(&explicit()).unwrap();
    }

    #[test]
    fn generated_names_are_fine_by_default() {
        let builder = StreamsBuilder::new();
        builder
            .stream::<String, String>("a", Consumed::new())
            .group_by_key()
            .count();
        builder.build_with(&StreamsConfig::new("app")).unwrap();
    }
}
