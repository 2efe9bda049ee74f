//! The settings that every backend has.

use super::Section;
use crate::Schedule;
use crate::layer::Limits;

/// The settings that every backend has, beside its own.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// `gc_interval`, `peer_lifetime`, `gc_grace`, `gc_max_share`, `prometheus_reporting_interval`,
    /// `maintenance`.
    pub schedule: Schedule,
    /// `operation_timeout`, `maintenance_timeout`, `max_waiting`.
    pub limits: Limits,
    /// `strict`: unknown keys are errors and not warnings.
    pub strict: bool,
}

impl Settings {
    /// These settings as they will be read, for a backend that goes by some of them. Nothing is taken out, and problems
    /// are left to the reading.
    pub fn peek(section: &Section) -> Self {
        Self::read(&mut section.copy())
    }

    /// Takes these settings out of a backend's section.
    pub fn read(section: &mut Section) -> Self {
        let (schedule, limits) = (Schedule::default(), Limits::default());
        let reporting = section.duration("prometheus_reporting_interval");
        Self {
            schedule: Schedule {
                gc_interval: section.positive_duration("gc_interval", schedule.gc_interval),
                peer_lifetime: section.positive_duration("peer_lifetime", schedule.peer_lifetime),
                gc_grace: section.duration_or("gc_grace", "auto"),
                gc_max_share: section.share("gc_max_share").unwrap_or(schedule.gc_max_share),
                reporting_interval: reporting.unwrap_or(schedule.reporting_interval),
                enabled: section.boolean("maintenance").unwrap_or(schedule.enabled),
            },
            limits: Limits {
                operation_timeout: section.positive_duration("operation_timeout", limits.operation_timeout),
                maintenance_timeout: section
                    .positive_duration("maintenance_timeout", limits.maintenance_timeout),
                max_waiting: section.number("max_waiting", 1..=1_000_000).unwrap_or(limits.max_waiting),
            },
            strict: section.boolean("strict").unwrap_or(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use crate::config::Value;

    #[test]
    fn absent_settings_have_the_documented_defaults() {
        let settings = Settings::read(&mut Section::new(Value::Null));
        assert_eq!(settings.schedule.gc_interval, Duration::from_secs(180));
        assert_eq!(settings.schedule.peer_lifetime, Duration::from_secs(1860));
        assert_eq!((settings.schedule.gc_grace, settings.schedule.gc_max_share), (None, 0.5));
        assert_eq!(settings.schedule.reporting_interval, Duration::from_secs(1));
        assert_eq!(settings.limits.operation_timeout, Duration::from_secs(5));
        assert!(settings.schedule.enabled);
        assert!(!settings.strict);
    }

    #[test]
    fn the_grace_is_a_word_or_a_duration_and_the_share_is_within_a_whole() {
        for (key, value, problems, expected) in [
            ("gc_grace", Value::Text("Auto".into()), 0, (None, 0.5)),
            ("gc_grace", Value::Text("45m".into()), 0, (Some(2_700), 0.5)),
            ("gc_grace", Value::Integer(0), 0, (Some(0), 0.5)),
            ("gc_grace", Value::Text("never".into()), 1, (None, 0.5)),
            ("gc_max_share", Value::Integer(1), 0, (None, 1.0)),
            ("gc_max_share", Value::Float(0.25), 0, (None, 0.25)),
            ("gc_max_share", Value::Float(1.5), 1, (None, 0.5)),
            ("gc_max_share", Value::Text("half".into()), 1, (None, 0.5)),
        ] {
            let mut section = Section::new(Value::Section(vec![(key.into(), value)]));
            let Schedule { gc_grace, gc_max_share, .. } = Settings::read(&mut section).schedule;
            assert_eq!((gc_grace.map(|grace| grace.as_secs()), gc_max_share), expected);
            assert_eq!(section.finish().problems.len(), problems);
        }
    }

    #[test]
    fn a_reporting_interval_of_zero_stays_zero() {
        let value = Value::Section(vec![("prometheus_reporting_interval".into(), Value::Integer(0))]);
        let mut section = Section::new(value);
        let settings = Settings::read(&mut section);
        assert_eq!(settings.schedule.reporting_interval, Duration::ZERO);
        assert!(section.finish().warnings.is_empty());
    }
}
