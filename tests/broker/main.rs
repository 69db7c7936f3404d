//! What the library asks of a broker and what the embedded one promises: the same cases on the embedded broker and on a real
//! Apache Kafka.
//!
//! Every case takes the address of a broker and makes topics and groups of its own. Cases that restart the broker, or need
//! what a real one does only after minutes, use the embedded one alone.

mod adapter;
mod admin;
mod clients;
mod groups;
mod logs;
mod placement;
mod restarts;
#[path = "../support/mod.rs"]
#[allow(
    dead_code,
    reason = "several test binaries share it, and each uses a part"
)]
mod support;
mod tools;
mod transactions;

/// Cases of the Kafka client's adapter with the settings they run under.
mod settings {
    use crate::adapter;

    pub fn a_member_of_a_classic_group(bootstrap: &str) {
        adapter::member(bootstrap, &[]);
    }

    pub fn a_member_of_a_consumer_group(bootstrap: &str) {
        adapter::member(bootstrap, &[("group.protocol", "consumer")]);
    }

    pub fn positions_hold_in_a_classic_group(bootstrap: &str) {
        adapter::positions_hold(bootstrap, &[]);
    }

    pub fn positions_hold_in_a_consumer_group(bootstrap: &str) {
        adapter::positions_hold(bootstrap, &[("group.protocol", "consumer")]);
    }
}

macro_rules! cases {
    ($($module:ident :: $case:ident),* $(,)?) => {
        mod on_the_embedded_broker {
            $(
                #[test]
                fn $case() {
                    crate::clients::with_embedded(crate::$module::$case);
                }
            )*
        }

        mod on_a_real_kafka {
            use crate::support::kafka::RealKafka;

            $(
                #[test]
                fn $case() {
                    crate::$module::$case(RealKafka::shared().bootstrap());
                }
            )*
        }
    };
}

cases! {
    adapter::eager_member,
    adapter::failures,
    adapter::only_members_commit_in_transactions,
    adapter::out_of_range,
    adapter::reader_moves,
    adapter::records_round_trip,
    adapter::security_settings,
    adapter::static_members,
    adapter::topics,
    adapter::transactions,
    admin::configurations_are_shown_and_changed,
    admin::groups_are_listed_and_deleted,
    admin::records_are_deleted_up_to_an_offset,
    admin::topics_are_created_once_and_checked,
    admin::topics_grow_and_go,
    groups::a_silent_member_loses_its_partitions,
    groups::a_stale_generation_cannot_commit,
    groups::a_static_member_comes_back_unnoticed,
    groups::cooperative_sticky_moves_only_what_it_must,
    groups::metadata_is_committed_with_the_offset,
    groups::range_shares_out_and_takes_back,
    groups::the_consumer_protocol_follows_a_pattern,
    groups::the_consumer_protocol_shares_out_and_takes_back,
    logs::an_idempotent_producer_writes_once,
    logs::every_compression_passes_through,
    logs::many_records_come_back_in_order,
    logs::offsets_are_found_by_time,
    settings::a_member_of_a_classic_group,
    settings::a_member_of_a_consumer_group,
    settings::positions_hold_in_a_classic_group,
    settings::positions_hold_in_a_consumer_group,
    tools::java_tools_work,
    tools::kcat_works,
    transactions::a_second_producer_fences_the_first,
    transactions::an_aborted_transaction_is_not_seen,
    transactions::an_open_transaction_holds_readers_back,
    transactions::offsets_are_committed_with_the_transaction,
}

/// Placement by task topic, on a real Kafka under load.
mod task_topic {
    use crate::placement;
    use crate::support::kafka::RealKafka;

    #[test]
    fn members_come_and_go_in_a_classic_group() {
        placement::members_come_and_go(RealKafka::shared().bootstrap(), "classic");
    }

    #[test]
    fn members_come_and_go_in_a_consumer_group() {
        placement::members_come_and_go(RealKafka::shared().bootstrap(), "consumer");
    }

    #[test]
    fn one_of_eight_restarts_in_a_classic_group() {
        placement::one_of_eight_restarts(RealKafka::shared().bootstrap(), "classic");
    }

    #[test]
    fn one_of_eight_restarts_in_a_consumer_group() {
        placement::one_of_eight_restarts(RealKafka::shared().bootstrap(), "consumer");
    }
}

/// Tasks with topics of their own, on a real Kafka under load.
mod task_topics {
    use crate::placement;
    use crate::support::kafka::RealKafka;

    #[test]
    fn tasks_go_to_subscribers_alone_in_a_classic_group() {
        placement::tasks_go_to_subscribers_alone(RealKafka::shared().bootstrap(), "classic");
    }

    #[test]
    fn tasks_go_to_subscribers_alone_in_a_consumer_group() {
        placement::tasks_go_to_subscribers_alone(RealKafka::shared().bootstrap(), "consumer");
    }

    #[test]
    fn many_tasks_are_shared_out_in_a_classic_group() {
        placement::many_tasks(RealKafka::shared().bootstrap(), "classic");
    }

    #[test]
    fn many_tasks_are_shared_out_in_a_consumer_group() {
        placement::many_tasks(RealKafka::shared().bootstrap(), "consumer");
    }
}

/// What only the embedded broker can show, or only it can show quickly.
mod embedded_alone {
    use crate::{clients, logs, restarts, tools, transactions};
    use streams_core::embedded::EmbeddedBroker;

    #[test]
    fn compaction_keeps_the_latest_of_each_key() {
        logs::compaction_keeps_the_latest_of_each_key();
    }

    #[test]
    fn old_records_go_by_time_and_by_size() {
        logs::old_records_go_by_time_and_by_size();
    }

    #[test]
    fn an_overdue_transaction_is_aborted() {
        clients::with_embedded(transactions::an_overdue_transaction_is_aborted);
    }

    #[test]
    fn a_taken_port_is_a_clear_error() {
        let first = EmbeddedBroker::builder().start().unwrap();
        let address = first.bootstrap_servers();
        let port = address.rsplit(':').next().unwrap().parse().unwrap();
        let error = EmbeddedBroker::builder().port(port).start().unwrap_err();
        assert!(error.to_string().contains(&port.to_string()), "{error}");
    }

    #[test]
    fn everything_survives_a_restart_in_a_directory() {
        restarts::everything_survives_a_restart_in_a_directory();
    }

    #[test]
    fn a_torn_tail_is_cut_off() {
        restarts::a_torn_tail_is_cut_off();
    }

    #[test]
    fn the_broker_program_keeps_its_directory() {
        tools::the_broker_program_keeps_its_directory();
    }

    #[test]
    fn rubbish_does_not_hurt() {
        clients::with_embedded(logs::rubbish_does_not_hurt);
    }
}
