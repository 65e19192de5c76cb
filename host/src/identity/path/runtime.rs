//! What runs a container, as far as its cgroup's path tells.

/// What runs a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Runtime {
    Docker,
    Containerd,
    Crio,
    Podman,
    /// A pod's container whose path does not tell which runtime runs it:
    /// 64 hexadecimal digits below `kubepods`, from any runtime with the
    /// cgroupfs driver; or a pod's sandbox (gVisor, Kata).
    Kubernetes,
    /// Another runtime that names its scope `PREFIX-ID.scope`.
    Oci,
    /// A step of an image build.
    Buildkit,
    /// A task that Nomad runs without a container runtime.
    Nomad,
    Garden,
    Mesos,
    Firecracker,
    /// A virtual machine of libvirt or Proxmox VE.
    Qemu,
    Lxc,
    Nspawn,
    /// A unit of systemd.
    Systemd,
    /// A service of Talos, which has no systemd.
    Talos,
}

impl Runtime {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Docker,
        Self::Containerd,
        Self::Crio,
        Self::Podman,
        Self::Kubernetes,
        Self::Oci,
        Self::Buildkit,
        Self::Nomad,
        Self::Garden,
        Self::Mesos,
        Self::Firecracker,
        Self::Qemu,
        Self::Lxc,
        Self::Nspawn,
        Self::Systemd,
        Self::Talos,
    ];

    /// Its name in `Container.runtime`, and the first part of an id that is
    /// made of nothing but the runtime's own.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Containerd => "containerd",
            Self::Crio => "crio",
            Self::Podman => "podman",
            Self::Kubernetes => "kubernetes",
            Self::Oci => "oci",
            Self::Buildkit => "buildkit",
            Self::Nomad => "nomad",
            Self::Garden => "garden",
            Self::Mesos => "mesos",
            Self::Firecracker => "firecracker",
            Self::Qemu => "qemu",
            Self::Lxc => "lxc",
            Self::Nspawn => "nspawn",
            Self::Systemd => "systemd",
            Self::Talos => "talos",
        }
    }

    /// From its name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|runtime| runtime.as_str() == text)
    }

    /// Whether the container is a service of the node's own manager and not
    /// one with an image or a root of its own.
    pub fn is_service(self) -> bool {
        matches!(self, Self::Systemd | Self::Talos)
    }

    /// Whether its ids are 64 hexadecimal digits that no two containers share,
    /// whichever runtime made them.
    pub fn has_digests(self) -> bool {
        matches!(
            self,
            Self::Docker | Self::Containerd | Self::Crio | Self::Podman | Self::Kubernetes | Self::Oci
        )
    }
}
