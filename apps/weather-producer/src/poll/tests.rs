//! The poller against a real HTTP server on loopback that answers in the services' shapes.

use super::*;
use crate::attribute::Attribute;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Instant;

/// What the server does with one request.
enum Answer {
    Ok(&'static str),
    Status(&'static str),
    Close,
    Silence,
}

/// A server that answers each connection with the next answer and returns the request lines it got.
fn serve(answers: Vec<Answer>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let mut silent = Vec::new();
        answers
            .into_iter()
            .map(|answer| {
                let (mut stream, _) = listener.accept().unwrap();
                let request = read_request(&stream);
                match answer {
                    Answer::Ok(body) => reply(&mut stream, "200 OK", body),
                    Answer::Status(status) => reply(&mut stream, status, "{}"),
                    Answer::Close => {}
                    Answer::Silence => silent.push(stream),
                }
                request
            })
            .collect()
    });
    (url, server)
}

fn read_request(stream: &TcpStream) -> String {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap().unwrap();
    while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
    first
}

fn reply(stream: &mut TcpStream, status: &str, body: &str) {
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
}

const BRIGHT_SKY: &str = include_str!("shapes/bright_sky.json");
const OPEN_METEO: &str = include_str!("shapes/open_meteo.json");

fn poller(service: Service, url: &str, cities: &[&str]) -> Poller {
    Poller::new(PollSettings {
        base_url: url.into(),
        locations: cities
            .iter()
            .map(|city| format!("{city}=49.35,9.15").parse().unwrap())
            .collect(),
        timeout: Duration::from_millis(300),
        tries_max: 4,
        first_wait: Duration::from_millis(5),
        ..PollSettings::new(service)
    })
}

#[test]
fn both_services_are_asked_for_the_place_and_answer() {
    for (service, body, path, temp) in [
        (
            Service::BrightSky,
            BRIGHT_SKY,
            "GET /current_weather?lat=49.35&lon=9.15 ",
            15.2,
        ),
        (
            Service::OpenMeteo,
            OPEN_METEO,
            "GET /v1/forecast?latitude=49.35&longitude=9.15&current=temperature_2m,",
            14.1,
        ),
    ] {
        let (url, server) = serve(vec![Answer::Ok(body)]);
        let round = poller(service, &url, &["Mosbach"]).poll(&Stop::new());
        assert_eq!(round.failures, []);
        assert_eq!(
            round.readings[0].values.get(&Attribute::TempCurrent),
            Some(temp)
        );
        let requests = server.join().unwrap();
        assert!(requests[0].starts_with(path), "{requests:?}");
    }
}

#[test]
fn a_reading_that_is_known_already_is_not_new() {
    let (url, server) = serve(vec![Answer::Ok(BRIGHT_SKY), Answer::Ok(BRIGHT_SKY)]);
    let mut poller = poller(Service::BrightSky, &url, &["Mosbach"]);
    assert_eq!(poller.poll(&Stop::new()).readings.len(), 1);
    assert_eq!(poller.poll(&Stop::new()), Round::default());
    server.join().unwrap();
}

#[test]
fn what_may_pass_is_tried_again() {
    let (url, server) = serve(vec![
        Answer::Status("503 Service Unavailable"),
        Answer::Close,
        Answer::Silence,
        Answer::Ok(BRIGHT_SKY),
    ]);
    let round = poller(Service::BrightSky, &url, &["Mosbach"]).poll(&Stop::new());
    assert_eq!(round.failures, []);
    assert_eq!(round.readings.len(), 1);
    assert_eq!(server.join().unwrap().len(), 4);
}

#[test]
fn tries_end_and_the_other_places_are_asked_all_the_same() {
    let mut answers: Vec<_> = (0..4)
        .map(|_| Answer::Status("429 Too Many Requests"))
        .collect();
    answers.push(Answer::Ok(BRIGHT_SKY));
    let (url, server) = serve(answers);
    let round = poller(Service::BrightSky, &url, &["Mosbach", "Stuttgart"]).poll(&Stop::new());
    assert_eq!(round.readings[0].city, "Stuttgart");
    assert_eq!(round.failures[0].city, "Mosbach");
    let message = round.failures[0].to_string();
    assert!(
        message.contains("429") && message.contains("tried 4 times"),
        "{message}"
    );
    server.join().unwrap();
}

#[test]
fn what_cannot_pass_is_not_tried_again() {
    for answer in [Answer::Status("404 Not Found"), Answer::Ok("<html>")] {
        let (url, server) = serve(vec![answer]);
        let round = poller(Service::BrightSky, &url, &["Mosbach"]).poll(&Stop::new());
        assert_eq!(round.readings, []);
        assert_eq!(round.failures.len(), 1, "{round:?}");
        assert_eq!(server.join().unwrap().len(), 1);
    }
}

#[test]
fn a_server_that_is_not_there_is_a_failure_that_names_it() {
    let (url, server) = serve(Vec::new());
    server.join().unwrap();
    let round = poller(Service::BrightSky, &url, &["Mosbach"]).poll(&Stop::new());
    let message = round.failures[0].to_string();
    assert!(message.contains(&url), "{message}");
}

#[test]
fn stopping_does_not_wait_for_the_next_try() {
    let (url, server) = serve(vec![Answer::Status("503 Service Unavailable")]);
    let mut poller = Poller::new(PollSettings {
        base_url: url,
        first_wait: Duration::from_secs(3600),
        ..PollSettings::new(Service::BrightSky)
    });
    let stop = Stop::new();
    let asked = {
        let stop = stop.clone();
        std::thread::spawn(move || {
            server.join().unwrap();
            stop.request();
        })
    };
    let started = Instant::now();
    let round = poller.poll(&stop);
    asked.join().unwrap();
    assert!(started.elapsed() < Duration::from_secs(60));
    assert_eq!(round.failures.len(), 1);
}
