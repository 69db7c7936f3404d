//! Which package may depend on which, as their manifests say it.

use std::process::Command;

use serde_json::Value;

use crate::repository::root;

/// Packages of libraries, and the only packages of this workspace that may depend on them. These tests drive a
/// broker with the same client.
const LIBRARIES: [(&[&str], &[&str]); 2] = [
    (
        &["rdkafka", "rdkafka-sys"],
        &["streams-core", "streams-tests"],
    ),
    (&["rocksdb", "librocksdb-sys"], &["streams-state"]),
];

/// What the manifests, as `cargo metadata` lists them, have against the layers:
/// apps on streams-core on streams-state. Apps may share code, but nothing below them knows them, and nobody knows
/// the tests.
fn violations(metadata: &Value) -> Vec<String> {
    let packages = metadata["packages"]
        .as_array()
        .expect("cargo lists the packages");
    let name = |value: &Value| {
        value["name"]
            .as_str()
            .expect("packages have names")
            .to_owned()
    };
    let members: Vec<String> = packages.iter().map(name).collect();

    let mut violations = Vec::new();
    for package in packages {
        let package_name = name(package);
        let dependencies = package["dependencies"]
            .as_array()
            .expect("cargo lists the dependencies");
        for dependency in dependencies {
            let dependency_name = name(dependency);
            let allowed = if members.contains(&dependency_name) {
                may_depend(&package_name, &dependency_name)
            } else {
                LIBRARIES.iter().all(|(libraries, users)| {
                    !libraries.contains(&dependency_name.as_str())
                        || users.contains(&package_name.as_str())
                })
            };
            if !allowed {
                violations.push(format!("{package_name} depends on {dependency_name}"));
            }
            if package_name == "streams-tests" && dependency["kind"] != "dev" {
                violations.push(format!(
                    "{package_name} has {dependency_name} as more than a dev-dependency"
                ));
            }
        }
    }
    violations
}

/// Whether a package of this workspace may depend on another one, also in its tests. A package names itself
/// among its dev-dependencies to have its features in its doctests.
fn may_depend(package: &str, dependency: &str) -> bool {
    package == dependency
        || match package {
            "streams-state" => false,
            "streams-core" => dependency == "streams-state",
            "streams-tests" => true,
            // Replays recorded answers with nothing native below it, and is asked by nobody.
            "streams-conformance" => dependency == "streams-core",
            // Gives the library's decoders bytes, and is asked by nobody.
            "streams-fuzz" => dependency == "streams-core",
            // Runs applications in simulated worlds, and is asked by nobody.
            "streams-simulation" => dependency == "streams-core",
            // Measures applications of the library, and is asked by nobody.
            "streams-bench" => dependency == "streams-core",
            _app => ![
                "streams-tests",
                "streams-conformance",
                "streams-fuzz",
                "streams-simulation",
                "streams-bench",
            ]
            .contains(&dependency),
        }
}

#[test]
fn dependencies_point_downwards() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
        .current_dir(root())
        .output()
        .expect("cargo can be started");
    assert!(output.status.success(), "{output:?}");
    let metadata = serde_json::from_slice(&output.stdout).expect("cargo answers in JSON");
    assert_eq!(violations(&metadata), [""; 0]);
}

#[test]
fn a_planted_dependency_is_found() {
    for (package, dependency, kind, found) in [
        ("streams-state", "streams-core", Value::Null, true),
        ("streams-state", "streams-core", Value::from("dev"), true),
        ("streams-core", "weather", Value::from("dev"), true),
        ("weather", "streams-tests", Value::Null, true),
        ("weather", "rdkafka", Value::from("dev"), true),
        ("streams-core", "rocksdb", Value::Null, true),
        ("streams-tests", "serde_json", Value::Null, true),
        ("weather", "streams-conformance", Value::from("dev"), true),
        ("weather", "streams-simulation", Value::from("dev"), true),
        ("streams-simulation", "streams-state", Value::Null, true),
        ("streams-bench", "streams-state", Value::Null, true),
        ("weather", "streams-bench", Value::from("dev"), true),
        ("streams-conformance", "streams-state", Value::Null, true),
        ("streams-conformance", "streams-core", Value::Null, false),
        ("streams-core", "streams-state", Value::Null, false),
        ("streams-core", "streams-core", Value::from("dev"), false),
        ("streams-core", "rdkafka", Value::Null, false),
        ("streams-state", "rocksdb", Value::Null, false),
        ("weather", "streams-core", Value::Null, false),
        ("streams-tests", "weather", Value::from("dev"), false),
    ] {
        let names = [
            "streams-state",
            "streams-core",
            "weather",
            "streams-conformance",
            "streams-fuzz",
            "streams-simulation",
            "streams-bench",
            "streams-tests",
        ];
        let packages = names.map(|name| {
            let dependencies = if name == package {
                vec![serde_json::json!({"name": dependency, "kind": kind})]
            } else {
                vec![]
            };
            serde_json::json!({"name": name, "dependencies": dependencies})
        });
        let metadata = serde_json::json!({"packages": packages});
        assert_eq!(
            !violations(&metadata).is_empty(),
            found,
            "{package} on {dependency}"
        );
    }
}
