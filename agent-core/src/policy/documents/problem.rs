//! What is wrong with a document, and where.

use std::fmt;
use std::sync::Arc;

use super::field::Field;
use super::node::Place;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// It is accepted, and does less than its author may think.
    Warning,
    /// The resource does not count.
    Error,
}

impl Severity {
    /// `warning` or `error`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// One thing wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// File name, or `kubernetes` for the API.
    pub document: Arc<str>,
    /// Where, in a file.
    pub place: Option<Place>,
    /// The resource, as `PeerAuthentication shop/web`, once that much of it is known.
    pub resource: Option<String>,
    /// Path of the field: `spec.mtls.mode`; absent where it is not about a field.
    pub field: Option<String>,
    /// What is wrong, and what would be right.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.document)?;
        if let Some(place) = self.place {
            write!(f, ":{}:{}", place.line, place.column)?;
        }
        write!(f, ": {}", self.severity.as_str())?;
        if let Some(resource) = &self.resource {
            write!(f, ": {resource}")?;
        }
        if let Some(field) = &self.field {
            write!(f, ": {field}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// A place to come back to, when what is said there turns out to be wrong once all documents are known.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    document: Arc<str>,
    resource: Option<String>,
    place: Option<Place>,
    field: String,
}

/// Where problems of one resource go.
#[derive(Debug)]
pub(crate) struct Problems {
    pub(crate) list: Vec<Problem>,
    pub(crate) over_limit: u64,
    errors: u64,
    limit: usize,
    pub(crate) document: Arc<str>,
    pub(crate) resource: Option<String>,
}

impl Problems {
    pub(crate) fn new(limit: usize) -> Self {
        Self { list: Vec::new(), over_limit: 0, errors: 0, limit, document: Arc::from(""), resource: None }
    }

    /// How many errors there were, kept or not. A resource that adds one does not count: part of a selector is a wider one.
    pub(crate) fn errors(&self) -> u64 {
        self.errors
    }

    pub(crate) fn error(&mut self, field: &Field<'_>, reason: impl Into<String>) {
        self.push(Severity::Error, field.place(), Some(field.path().to_owned()), reason.into());
    }

    pub(crate) fn warning(&mut self, field: &Field<'_>, reason: impl Into<String>) {
        self.push(Severity::Warning, field.place(), Some(field.path().to_owned()), reason.into());
    }

    pub(crate) fn mark(&self, field: &Field<'_>) -> Mark {
        Mark {
            document: Arc::clone(&self.document),
            resource: self.resource.clone(),
            place: field.place(),
            field: field.path().to_owned(),
        }
    }

    pub(crate) fn warning_at(&mut self, mark: &Mark, reason: String) {
        self.document = Arc::clone(&mark.document);
        self.resource.clone_from(&mark.resource);
        self.push(Severity::Warning, mark.place, Some(mark.field.clone()), reason);
    }

    pub(crate) fn push(
        &mut self,
        severity: Severity,
        place: Option<Place>,
        field: Option<String>,
        reason: String,
    ) {
        if severity == Severity::Error {
            self.errors = self.errors.saturating_add(1);
        }
        if self.list.len() >= self.limit {
            self.over_limit = self.over_limit.saturating_add(1);
            return;
        }
        self.list.push(Problem {
            severity,
            document: Arc::clone(&self.document),
            place,
            resource: self.resource.clone(),
            // The document itself has no path.
            field: field.filter(|path| !path.is_empty()),
            reason,
        });
    }
}
