//! Writes metrics whose values are read at each scrape.

use std::fmt;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, NoLabelSet,
};
use prometheus_client::metrics::MetricType;

use super::histogram::Histogram;

/// Writes a counter without labels.
///
/// # Errors
/// The encoder fails.
pub(crate) fn write_counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    count: u64,
) -> fmt::Result {
    encoder
        .encode_descriptor(name, help, None, MetricType::Counter)?
        .encode_counter::<NoLabelSet, _, f64>(&count, None)
}

/// Writes a counter for each set of labels.
///
/// # Errors
/// The encoder fails.
pub(crate) fn write_counters<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    counters: impl IntoIterator<Item = (L, u64)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, count) in counters {
        let mut counter = family.encode_family(&labels)?;
        counter.encode_counter::<NoLabelSet, _, f64>(&count, None)?;
    }
    Ok(())
}

/// Writes a gauge without labels.
///
/// # Errors
/// The encoder fails.
pub(crate) fn write_gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: &impl EncodeGaugeValue,
) -> fmt::Result {
    encoder
        .encode_descriptor(name, help, None, MetricType::Gauge)?
        .encode_gauge(value)
}

/// Writes a gauge for each set of labels.
///
/// # Errors
/// The encoder fails.
pub(crate) fn write_gauges<L: EncodeLabelSet, V: EncodeGaugeValue>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    gauges: impl IntoIterator<Item = (L, V)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in gauges {
        family.encode_family(&labels)?.encode_gauge(&value)?;
    }
    Ok(())
}

/// Writes a histogram for each set of labels.
///
/// # Errors
/// The encoder fails.
pub(crate) fn write_histograms<'h, L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    histograms: impl IntoIterator<Item = (L, &'h Histogram)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for (labels, histogram) in histograms {
        histogram.write(&mut family.encode_family(&labels)?)?;
    }
    Ok(())
}
