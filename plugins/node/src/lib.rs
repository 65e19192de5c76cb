//! Metrics of the node itself: CPU, memory, disks, file systems, network, pressure
