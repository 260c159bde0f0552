//! One private PostgreSQL and one set of stand-ins, shared by every test of the binary.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tollhouse::dev::{Settings, Stand, WORKLOAD_AUDIENCE};

use super::eventually;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/demo/warehouse.sh");

/// The role that every session of the proxy logs in as.
pub(crate) const ROLE: &str = "dbt_runner";

/// Subjects of clients whose tokens the stand-ins exchange for certificates: a person, and a job.
pub(crate) const CLIENTS: [&str; 2] = ["ada", "nightly-job"];

/// The warehouse and what issues credentials for it.
pub(crate) struct Warehouse {
    /// Where PostgreSQL listens.
    pub(crate) port: u16,
    /// Token issuer, token endpoint and certificate authority.
    pub(crate) stand: Stand,
    directory: PathBuf,
    /// Reads from a pipe that only this process holds: it ends, however it ends, and the watchdog clears away.
    _watchdog: Child,
}

/// The one warehouse, started by the first test that asks.
pub(crate) fn warehouse() -> &'static Warehouse {
    static SHARED: OnceLock<Warehouse> = OnceLock::new();
    SHARED.get_or_init(Warehouse::start)
}

/// A port on which nobody listens while the socket lives: it is taken, and takes no connections.
pub(crate) fn silent_port() -> (tokio::net::TcpSocket, u16) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

/// A port that stays free until a program takes it itself.
///
/// It lies below those that the kernel gives to whoever asks for any port (from 32768 on): otherwise a connection of
/// another test could have it by then. Each is given once; another run of these tests starts its search elsewhere.
pub(crate) fn free_port() -> u16 {
    const FIRST: u32 = 12_000;
    const COUNT: u32 = 20_000;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(997);
    (0..COUNT)
        .map(|_| FIRST + start.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % COUNT)
        .map(|port| u16::try_from(port).expect("it is below 32,000"))
        .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("20,000 ports are taken")
}

impl Warehouse {
    fn start() -> Self {
        // PostgreSQL's owner has to pass through; a Unix socket stands below, so the path stays short.
        let directory = tempfile::Builder::new().prefix("tollhouse-it.").tempdir().unwrap().keep();
        std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o711)).unwrap();
        let watchdog = watch(&directory);
        let stand = start_stand(settings(directory.join("stand")));
        let port = free_port();
        let output = directory.join("start.log");
        let started = Command::new(SCRIPT)
            .args(["start".as_ref(), postgres(&directory).as_os_str(), port.to_string().as_ref(), stand.directory.as_os_str()])
            .stdin(Stdio::null())
            .stdout(File::create(&output).unwrap())
            .stderr(File::options().append(true).open(&output).unwrap())
            .status()
            .unwrap();
        let said = std::fs::read_to_string(&output).unwrap();
        assert!(started.success(), "no PostgreSQL for these tests; `make setup` installs what they need\n{said}");
        Self { port, stand, directory, _watchdog: watchdog }
    }

    /// A file that the stand-ins wrote.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.stand.directory.join(name)
    }

    /// A connection past the proxy, as the administrator.
    pub(crate) async fn administrator(&self) -> tokio_postgres::Client {
        self.administrator_of("demo").await
    }

    /// The same, in another database than the sessions of the proxy.
    pub(crate) async fn administrator_of(&self, database: &str) -> tokio_postgres::Client {
        let mut config = tokio_postgres::Config::new();
        config.host_path(postgres(&self.directory).join("socket")).port(self.port).user("postgres").dbname(database);
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// Makes a role that PostgreSQL asks for `password` by `method` (a word of pg_hba.conf), and keeps as `encryption` says.
    pub(crate) async fn admit_by_password(&self, role: &str, method: &str, encryption: &str, password: &str) {
        static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        let _turn = ONE_AT_A_TIME.lock().await;
        let administrator = self.administrator().await;
        let make = format!("set password_encryption = '{encryption}'; create role {role} login password '{password}'");
        administrator.batch_execute(&make).await.unwrap();
        let rules: String = administrator.query_one("show hba_file", &[]).await.unwrap().get(0);
        let present = std::fs::read_to_string(&rules).unwrap();
        // The first rule that fits is the one that counts.
        std::fs::write(&rules, format!("host all {role} all {method}\n{present}")).unwrap();
        let reloaded = "select not exists (select from pg_hba_file_rules where error is not null) and pg_reload_conf()";
        assert!(administrator.query_one(reloaded, &[]).await.unwrap().get::<_, bool>(0));
    }

    /// Gives the sidecar's role the privilege to replicate.
    pub(crate) async fn allow_replication(&self) {
        static ONCE: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
        let allow = async { self.administrator().await.batch_execute(&format!("alter role {ROLE} replication")).await.unwrap() };
        ONCE.get_or_init(|| allow).await;
    }

    /// Waits until PostgreSQL is at work on exactly this text.
    pub(crate) async fn until_running(&self, sql: &str) {
        let administrator = self.administrator().await;
        let running = "select 1 from pg_stat_activity where query = $1 and state = 'active'";
        eventually(|| async { administrator.query_opt(running, &[&sql]).await.unwrap() }).await;
    }

    /// Whether PostgreSQL's own log has the text. Everything that it was sent before this call counts.
    pub(crate) async fn has_seen(&self, text: &str) -> bool {
        self.log_until_now().await.contains(&text.replace('"', "\"\""))
    }

    /// PostgreSQL's own log, a CSV file, with everything that it was sent before this call.
    pub(crate) async fn log_until_now(&self) -> String {
        let marker = format!("select 'marker {}'", uniquely());
        self.administrator().await.simple_query(&marker).await.unwrap();
        eventually(|| async { Some(self.log()).filter(|log| log.contains(&marker)) }).await
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(postgres(&self.directory).join("log/statements.csv")).unwrap()).into_owned()
    }
}

/// A number that no other caller in this process gets.
pub(crate) fn uniquely() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

fn postgres(directory: &Path) -> PathBuf {
    directory.join("postgres")
}

/// Stops PostgreSQL and removes the directory once this process is gone.
fn watch(directory: &Path) -> Child {
    use std::os::unix::process::CommandExt;
    Command::new("bash")
        .args(["-c", r#"cat; "$0" stop "$1/postgres"; rm -rf "$1""#, SCRIPT])
        .arg(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Its own group: an interrupt from the terminal is for the tests, and their end is what it waits for.
        .process_group(0)
        .spawn()
        .unwrap()
}

/// Stand-ins in `directory`, on a free port.
pub(crate) fn settings(directory: PathBuf) -> Settings {
    Settings {
        directory,
        address: "127.0.0.1:0".parse().unwrap(),
        hostnames: vec!["localhost".to_owned()],
        namespace: "demo".to_owned(),
        service_account: "dbt-runner".to_owned(),
        role: ROLE.to_owned(),
        clients: CLIENTS.map(str::to_owned).to_vec(),
        audience: WORKLOAD_AUDIENCE.to_owned(),
        token_lifetime: Duration::from_secs(600),
        rotate: Duration::from_secs(600),
    }
}

/// The stand-ins outlive the runtime of the test that asked first, so they get a thread and a runtime of their own.
fn start_stand(settings: Settings) -> Stand {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            tell.send(Stand::start(&settings).await.unwrap()).unwrap();
            std::future::pending::<()>().await;
        });
    });
    told.recv().unwrap()
}
