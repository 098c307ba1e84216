//! Parts of resources that several dialects have.

use super::field::Field;
use super::problem::{Problems, Severity};
use crate::policy::selector::{LabelSelector, Requirement};

/// `matchLabels`: every value a string.
pub(crate) fn match_labels(field: &Field<'_>, problems: &mut Problems) -> Vec<(String, String)> {
    let mut labels = Vec::new();
    for (key, value) in field.entries(problems) {
        use super::node::Value;
        match &value.node().value {
            // A label's value may be empty.
            Value::Text(text) => labels.push((key.to_owned(), text.clone())),
            _ => problems.error(
                &value,
                format!("a label's value must be a string, not {}: put it in quotes", value.what()),
            ),
        }
    }
    labels
}

/// A Kubernetes label selector with `matchLabels` and `matchExpressions`.
pub(crate) fn label_selector(field: &Field<'_>, problems: &mut Problems) -> LabelSelector {
    let mut selector = LabelSelector::default();
    if !field.expect_map(problems) {
        return selector;
    }
    field.only(&["matchLabels", "matchExpressions"], Severity::Error, problems);
    if let Some(labels) = field.get("matchLabels") {
        selector.equal = match_labels(&labels, problems);
    }
    for expression in field.list("matchExpressions", problems) {
        selector.requirements.extend(requirement(&expression, problems));
    }
    selector
}

fn requirement(field: &Field<'_>, problems: &mut Problems) -> Option<Requirement> {
    let Some(key) = field.text("key", problems) else {
        problems.error(field, "needs a `key`");
        return None;
    };
    let key = key.to_owned();
    let Some(operator) = field.get("operator") else {
        problems.error(field, "needs an `operator`");
        return None;
    };
    let values: Vec<String> = field.texts("values", problems).into_iter().map(str::to_owned).collect();
    let needs_values = |problems: &mut Problems| {
        if values.is_empty() {
            problems.error(field, "needs `values` with this operator");
        }
        !values.is_empty()
    };
    match operator.as_text(problems)? {
        "In" => needs_values(problems).then_some(Requirement::In(key, values)),
        "NotIn" => needs_values(problems).then_some(Requirement::NotIn(key, values)),
        "Exists" => Some(Requirement::Exists(key)),
        "DoesNotExist" => Some(Requirement::DoesNotExist(key)),
        _ => {
            problems.error(&operator, "must be In, NotIn, Exists or DoesNotExist");
            None
        }
    }
}
