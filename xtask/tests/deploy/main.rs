//! What deploy/ holds is what those who read it take it for: Helm, Kubernetes' own schemas, systemd, and programs that read
//! container images.

mod chart;
mod image;
mod tools;
mod unit;
