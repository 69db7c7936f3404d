//! Every verb of Kafka Streams' DSL is in the table that shows ours.

use std::fs;

use crate::repository::root;

const METHODS: &str = include_str!("kafka_streams_4_3_1.txt");

/// The methods that the rows below a heading `## Class` name, in their first cell, as `method`.
fn rows<'a>(page: &'a str, class: &str) -> Vec<&'a str> {
    let heading = format!("## {class}");
    page.lines()
        .skip_while(|line| *line != heading)
        .skip(1)
        .take_while(|line| !line.starts_with("## "))
        .filter_map(|line| line.strip_prefix("| "))
        .filter_map(|row| row.split(" | ").next())
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect()
}

#[test]
fn every_method_has_a_row_and_every_row_is_a_method() {
    let page = root().join("streams-core/docs/coming_from_kafka_streams.md");
    let page = fs::read_to_string(page).expect("the page exists");
    let mut wrong = Vec::new();
    for line in METHODS.lines().filter(|line| !line.starts_with('#')) {
        let (class, methods) = line.split_once(": ").expect("a class and its methods");
        let rows = rows(&page, class);
        let methods: Vec<&str> = methods.split(' ').collect();
        for method in &methods {
            if !rows.contains(method) {
                wrong.push(format!("{class}#{method} has no row"));
            }
        }
        for row in rows {
            if !methods.contains(&row) {
                wrong.push(format!("{class}#{row} is no method of Kafka Streams"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
