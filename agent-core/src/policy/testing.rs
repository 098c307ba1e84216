//! What tests of policies share.

use std::sync::Arc;

use super::documents::Documents;
use super::set::PolicySet;
use crate::identity::{Party, ServiceRef, Workload};

/// A pod of a Deployment.
pub(crate) fn pod(namespace: &str, name: &str, labels: &[(&str, &str)]) -> Party {
    let workload = Workload {
        namespace: namespace.to_owned(),
        kind: String::from("Deployment"),
        name: name.to_owned(),
        labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        ..Workload::default()
    };
    Party { workload: Some(Arc::new(workload)), ..Party::default() }
}

/// The same behind a Service of its name.
pub(crate) fn served(namespace: &str, name: &str, labels: &[(&str, &str)]) -> Party {
    let service = ServiceRef { namespace: namespace.to_owned(), name: name.to_owned() };
    Party { service: Some(Arc::new(service)), ..pod(namespace, name, labels) }
}

/// The set that a text gives, whatever is wrong with it.
pub(crate) fn read(text: &str) -> PolicySet {
    let mut documents = Documents::default();
    documents.add_text("p.yaml", text);
    documents.finish().set
}

/// The set that a text gives, with which nothing is wrong.
pub(crate) fn read_well(text: &str) -> PolicySet {
    let mut documents = Documents::default();
    documents.add_text("p.yaml", text);
    let loaded = documents.finish();
    assert_eq!(loaded.problems, []);
    loaded.set
}
