//! TensorBoard's event file: records framed as TFRecord (length, masked CRC32C, protobuf message, masked CRC32C).

use prost::Message;

use crate::logs::Point;

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Scalar>,
}

#[derive(Clone, PartialEq, Message)]
struct Scalar {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

/// The record that every event file begins with.
pub(crate) fn version_record(wall_time: f64) -> Vec<u8> {
    let event = Event { wall_time, file_version: Some("brain.Event:2".into()), ..Event::default() };
    record(&event.encode_to_vec())
}

/// One record with all scalars of a log point.
pub(crate) fn scalars_record(wall_time: f64, point: &Point) -> Vec<u8> {
    let scalar = |(tag, value): &(String, f64)| Scalar { tag: tag.clone(), simple_value: Some(*value as f32) };
    let summary = Summary { value: point.values.iter().map(scalar).collect() };
    let step = i64::try_from(point.env_steps).unwrap_or(i64::MAX);
    record(&Event { wall_time, step, summary: Some(summary), ..Event::default() }.encode_to_vec())
}

fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked_crc(&length), data, &masked_crc(data)].concat()
}

/// TFRecord stores checksums rotated and shifted, so that a checksum of data that holds checksums stays strong.
fn masked_crc(data: &[u8]) -> [u8; 4] {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xA282_EAD8).to_le_bytes()
}
