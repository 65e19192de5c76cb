//! Programs and their application types. The types are those of
//! coroot-node-agent (`docs/compatibility.md`), so that queries go on.

/// By the name of the program: the first word of the command line without its
/// directories, as `postgres` of `postgres: checkpointer`.
const PROGRAMS: &[(&str, &str)] = &[
    ("apache", "httpd"),
    ("apache2", "httpd"),
    ("asd", "aerospike"),
    ("ceph-mgr", "ceph"),
    ("ceph-mon", "ceph"),
    ("ceph-osd", "ceph"),
    ("cephcsi", "ceph"),
    ("clickhouse-server", "clickhouse"),
    ("cockroach", "cockroach"),
    ("consul", "consul"),
    ("coroot", "coroot-community-edition"),
    ("coroot-cluster-agent", "coroot-cluster-agent"),
    ("coroot-ee", "coroot-enterprise-edition"),
    ("coroot-node-agent", "coroot-node-agent"),
    ("coroot-operator", "coroot-operator"),
    ("dockerd", "dockerd"),
    ("dragonfly", "dragonfly"),
    ("envoy", "envoy"),
    ("etcd", "etcd"),
    ("fdbserver", "foundationdb"),
    ("haproxy", "haproxy"),
    ("httpd", "httpd"),
    ("influxd", "influxdb"),
    ("java", "java"),
    ("k3s", "k3s"),
    ("keydb-server", "keydb"),
    ("kube-apiserver", "kube-apiserver"),
    ("kube-controller-manager", "kube-controller-manager"),
    ("kube-scheduler", "kube-scheduler"),
    ("kubelet", "kubelet"),
    ("mariadbd", "mysql"),
    ("memcached", "memcached"),
    ("mongod", "mongodb"),
    ("mongos", "mongos"),
    ("mysqld", "mysql"),
    ("nats-server", "nats"),
    ("nginx", "nginx"),
    ("ollama", "ollama"),
    ("pgbouncer", "pgbouncer"),
    ("postgres", "postgres"),
    ("prometheus", "prometheus"),
    ("proxysql", "proxysql"),
    ("redis-sentinel", "redis-sentinel"),
    ("redis-server", "redis"),
    ("rook", "rook"),
    ("sqlservr", "mssql"),
    ("traefik", "traefik"),
    ("valkey-server", "valkey"),
    ("vault", "vault"),
    ("victoria-logs", "victoria-logs"),
    ("victoria-logs-prod", "victoria-logs"),
    ("victoria-metrics", "victoria-metrics"),
    ("victoria-metrics-prod", "victoria-metrics"),
    ("vminsert-prod", "victoria-metrics"),
    ("vmselect-prod", "victoria-metrics"),
    ("vmstorage-prod", "victoria-metrics"),
    ("vminsert", "victoria-metrics"),
    ("vmselect", "victoria-metrics"),
    ("vmstorage", "victoria-metrics"),
];

/// Programs of a virtual machine, by what stands in their arguments.
const ARGUMENTS: &[(&str, &str, &str)] = &[
    ("java", "org.elasticsearch.bootstrap", "elasticsearch"),
    ("java", "org.opensearch.bootstrap", "opensearch"),
    ("java", "kafka.Kafka", "kafka"),
    ("java", "io.confluent.support.metrics.SupportedKafka", "kafka"),
    ("java", "org.apache.zookeeper.server.quorum.QuorumPeerMain", "zookeeper"),
    ("java", "org.apache.cassandra.service.CassandraDaemon", "cassandra"),
    ("java", "org.apache.catalina.startup.Bootstrap", "tomcat"),
    ("beam.smp", "rabbit", "rabbitmq"),
    ("beam.smp", "couch", "couchbase"),
];

/// Interpreters, whose names end in a version or not.
const INTERPRETERS: &[(&str, &str)] = &[
    ("php", "php"),
    ("php-fpm", "php"),
    ("php-cgi", "php"),
    ("python", "python"),
    ("node", "nodejs"),
    ("nodejs", "nodejs"),
    ("ruby", "ruby"),
];

/// The application type of a process. `command` is its `/proc/PID/cmdline`,
/// which it may have written anything into; `exe` is where its program lies.
pub fn of(command: &[u8], exe: &str) -> Option<&'static str> {
    let first = command.split(|byte| *byte == 0).next().unwrap_or_default();
    // A title as `nginx: master process` or `php-fpm: pool www` is one argument.
    let word = first.split(u8::is_ascii_whitespace).find(|word| !word.is_empty()).unwrap_or_default();
    let word = std::str::from_utf8(word).unwrap_or_default().trim_end_matches(':');
    let [said, real] = [word, exe.trim_end_matches(" (deleted)")].map(name);
    by_arguments(said, command)
        .or_else(|| by_arguments(real, command))
        .or_else(|| by_name(said))
        .or_else(|| by_interpreter(said))
        .or_else(|| by_interpreter(real))
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

fn by_arguments(name: &str, command: &[u8]) -> Option<&'static str> {
    let contains = |text: &str| command.windows(text.len()).any(|window| window == text.as_bytes());
    ARGUMENTS.iter().find(|(program, text, _)| *program == name && contains(text)).map(|found| found.2)
}

fn by_name(name: &str) -> Option<&'static str> {
    PROGRAMS.iter().find(|(program, _)| *program == name).map(|found| found.1)
}

fn by_interpreter(name: &str) -> Option<&'static str> {
    let bare = name.trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
    INTERPRETERS.iter().find(|(program, _)| *program == bare).map(|found| found.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_by_what_they_say_and_what_they_are() {
        for (command, exe, application) in [
            (&b"/usr/lib/postgresql/15/bin/postgres\0-D\0/data\0"[..], "", Some("postgres")),
            (b"postgres: checkpointer \0\0", "/usr/lib/postgresql/15/bin/postgres", Some("postgres")),
            (b"nginx: master process nginx -g daemon off;\0", "/usr/sbin/nginx", Some("nginx")),
            (b"php-fpm: pool www\0", "/usr/local/sbin/php-fpm", Some("php")),
            (b"/usr/sbin/php-fpm8.2\0", "", Some("php")),
            (b"java\0-Xmx1G\0-cp\0/x:/y\0kafka.Kafka\0server.properties\0", "", Some("kafka")),
            (b"/opt/java/bin/java\0-jar\0app.jar\0", "", Some("java")),
            (b"/opt/erlang/bin/beam.smp\0-W\0w\0-s\0rabbit\0", "", Some("rabbitmq")),
            (b"python3.11\0manage.py\0", "", Some("python")),
            (b"gunicorn: worker\0", "/usr/bin/python3.11", Some("python")),
            (b"node\0server.js\0", "", Some("nodejs")),
            (b"redis-server *:6379\0", "", Some("redis")),
            (b"bash\0-c\0grep kafka.Kafka\0", "/bin/bash", None),
            (b"prometheus-node-exporter\0", "", None),
            (b"", "", None),
            (b"   \0", "", None),
            (b"\0\0\0", "", None),
            (b"\xff\xfe\0", "", None),
            (b"/\0", "/", None),
        ] {
            assert_eq!(of(command, exe), application, "{}", command.escape_ascii());
        }
    }
}
