//! Errors of the API: a status, a code for programs and a message for people.

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, HeaderName, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use serde::Serialize;
use storage_core::{Capability, ErrorKind};

use crate::serve::http::HttpResponse;

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::serve::admin) enum ErrorCode {
    /// The request has a parameter that its path does not take.
    UnknownParameter,
    /// A value cannot be understood, is out of range, or cannot be combined with another one.
    InvalidParameter,
    /// The path does not exist.
    NotFound,
    /// The method is not GET or HEAD.
    MethodNotAllowed,
    /// The storage lacks a capability.
    Unsupported,
    /// Too many reads are under way.
    Busy,
    /// The storage did not answer in time.
    Timeout,
    /// The storage cannot be reached, or is closed.
    StorageUnavailable,
    /// The storage failed in another way.
    StorageFailed,
}

impl ErrorCode {
    fn status(self) -> StatusCode {
        match self {
            Self::UnknownParameter | Self::InvalidParameter => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unsupported => StatusCode::NOT_IMPLEMENTED,
            Self::Busy | Self::Timeout | Self::StorageUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::StorageFailed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn headers(self) -> &'static [(HeaderName, &'static str)] {
        match self.status() {
            StatusCode::SERVICE_UNAVAILABLE => RETRY_LATER,
            _ => super::HEADERS,
        }
    }
}

/// When to ask again, in seconds.
const RETRY_LATER: &[(HeaderName, &str)] =
    &[(CACHE_CONTROL, "no-store"), (X_CONTENT_TYPE_OPTIONS, "nosniff"), (RETRY_AFTER, "2")];

/// An answer other than the one asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::serve::admin) struct ApiError {
    code: ErrorCode,
    message: String,
    /// What the storage lacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    capability: Option<&'static str>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a ApiError,
}

impl ApiError {
    pub(in crate::serve::admin) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), capability: None }
    }

    /// A value of a parameter is wrong.
    pub(super) fn invalid(parameter: &str, expected: impl std::fmt::Display) -> Self {
        Self::new(ErrorCode::InvalidParameter, format!("`{parameter}`: {expected}"))
    }

    /// The storage lacks this capability.
    pub(super) fn unsupported(capability: Capability, reason: &str) -> Self {
        let message = format!("the storage lacks the capability `{capability}`: {reason}");
        Self { capability: Some(capability.name()), ..Self::new(ErrorCode::Unsupported, message) }
    }

    #[cfg(test)]
    pub(super) fn code(&self) -> ErrorCode {
        self.code
    }

    pub(in crate::serve::admin) fn response(&self) -> HttpResponse {
        // It can be written as JSON.
        let body = serde_json::to_vec(&ErrorBody { error: self }).unwrap_or_default();
        let (status, headers) = (self.code.status(), self.code.headers());
        HttpResponse { status, headers, ..HttpResponse::new("application/json", body) }
    }
}

impl From<&storage_core::Error> for ApiError {
    fn from(error: &storage_core::Error) -> Self {
        let code = match error.kind() {
            ErrorKind::Unsupported(capability) => return Self::unsupported(capability, &error.to_string()),
            ErrorKind::Busy => ErrorCode::Busy,
            ErrorKind::Timeout => ErrorCode::Timeout,
            ErrorKind::Closed | ErrorKind::Unavailable => ErrorCode::StorageUnavailable,
            _ => ErrorCode::StorageFailed,
        };
        Self::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage_core::{Error, Operation};

    fn of(kind: ErrorKind) -> (u16, ErrorCode) {
        let error = ApiError::from(&Error::new("x", Operation::ListSwarms, kind));
        (error.response().status.as_u16(), error.code())
    }

    #[test]
    fn a_storage_that_is_away_is_not_one_that_fails() {
        assert_eq!(of(ErrorKind::Unavailable), (503, ErrorCode::StorageUnavailable));
        assert_eq!(of(ErrorKind::Closed), (503, ErrorCode::StorageUnavailable));
        assert_eq!(of(ErrorKind::Busy), (503, ErrorCode::Busy));
        assert_eq!(of(ErrorKind::Timeout), (503, ErrorCode::Timeout));
        assert_eq!(of(ErrorKind::Corrupt), (500, ErrorCode::StorageFailed));
        assert_eq!(of(ErrorKind::Unsupported(Capability::ListSwarms)), (501, ErrorCode::Unsupported));
    }

    #[test]
    fn only_what_is_missing_is_named_as_a_capability() {
        let text = |error: &ApiError| String::from_utf8(error.response().body.to_vec()).unwrap();
        let unsupported = ApiError::unsupported(Capability::ListSwarms, "no order");
        assert!(text(&unsupported).contains(r#""capability":"list swarms""#), "{}", text(&unsupported));
        assert_eq!(
            text(&ApiError::new(ErrorCode::NotFound, "no")),
            r#"{"error":{"code":"not_found","message":"no"}}"#
        );
    }
}
