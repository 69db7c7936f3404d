//! From readings to averages.

use crate::city_window::CityWindow;
use crate::dead_letters::{DeadLetters, is_reading_of};
use crate::settings::Settings;
use crate::window_averages::WindowAverages;
use streams_core::serdes::{Json, Nullable, RawBytes, TimeWindowed, Utf8};
use streams_core::windowed::Windowed;
use streams_core::{
    Consumed, EmitStrategy, Grouped, Materialized, Produced, Result, StreamsBuilder, TimeWindows,
    Topology,
};
use weather_producer::{CityKey, EventTime, Incoming, IncomingSerde, Rejections, Rules};

/// The topology: readings in, one result per city and window out, and what is no reading to the dead letters.
///
/// A result is final. It comes when the window is closed: when a reading of the same partition is later than the window's
/// end and the grace. Readings that come later still are dropped and counted by the library.
///
/// `rejections` counts what was refused, by reason.
///
/// # Errors
/// When the settings make no sense.
pub fn topology(settings: &Settings, rejections: &Rejections) -> Result<Topology> {
    settings.check()?;
    let serde = IncomingSerde::new(Rules::new(settings.future_max));
    let builder = StreamsBuilder::new();
    let incoming = builder.stream(
        &*settings.input,
        Consumed::with(CityKey, serde.clone()).with_timestamp_extractor(EventTime),
    );

    let rekey = settings.rekey;
    let branches = incoming
        .split()
        .branch(
            "-readings",
            move |key: &String, value: &Incoming| match rekey {
                true => value.reading().is_some(),
                false => is_reading_of(key, value),
            },
        )
        .default_branch("-refused");

    let rejections = rejections.clone();
    branches
        .get("-refused")
        .process(move || DeadLetters::new(rejections.clone()), &[])
        .to(
            &*settings.dead_letters,
            Produced::with(CityKey, Nullable(RawBytes)),
        );

    let readings = branches.get("-readings");
    let by_city = if rekey {
        readings
            .select_key(|_key, value| match value {
                Incoming::Reading(reading) => reading.city.clone(),
                Incoming::Refused(..) => String::new(),
            })
            .group_by_key_with(Grouped::with(CityKey, serde).named("by-city"))
    } else {
        readings.group_by_key()
    };

    by_city
        .windowed_by(TimeWindows::of_size_and_grace(
            settings.window,
            settings.grace,
        ))
        .emit_strategy(EmitStrategy::on_window_close())
        .aggregate(
            CityWindow::default,
            |_city, value: &Incoming, window: &mut CityWindow| {
                if let Incoming::Reading(reading) = value {
                    window.add(reading);
                }
            },
            Materialized::named("city-windows").with_value(Json),
        )
        .to_stream()
        .map_values_with_key(|city: &Windowed<String>, window: &CityWindow| {
            WindowAverages::new(&city.key, city.window, window)
        })
        .to(
            &*settings.output,
            Produced::with(TimeWindowed::new(Utf8, settings.window), Json),
        );
    builder.build()
}
