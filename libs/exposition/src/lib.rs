//! Arena, checks of samples, and the text formats of Prometheus
