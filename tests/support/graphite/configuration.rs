//! The configuration of a private Graphite: loopback only, no limits that lose data, fine retentions.

use std::fs;
use std::path::Path;

/// How long carbon keeps what, and how points become coarser ones.
pub struct Retentions<'a> {
    /// The text of `storage-schemas.conf`.
    pub schemas: &'a str,
    /// The text of `storage-aggregation.conf`.
    pub aggregation: &'a str,
}

impl Default for Retentions<'_> {
    /// A fine step of 10 seconds for the weather, of a second for everything else.
    fn default() -> Self {
        Retentions {
            schemas: "[weather]\npattern = ^vlvs_inf19b\\.\nretentions = 10s:6h,1m:7d,10m:5y\n\
                      [default]\npattern = .*\nretentions = 1s:1h,1m:1d\n",
            aggregation: "[sum]\npattern = \\.(count|sum)$\nxFilesFactor = 0\naggregationMethod = sum\n\
                          [min]\npattern = \\.(min|tempMin)$\nxFilesFactor = 0\naggregationMethod = min\n\
                          [max]\npattern = \\.(max|tempMax)$\nxFilesFactor = 0\naggregationMethod = max\n\
                          [average]\npattern = .*\nxFilesFactor = 0\naggregationMethod = average\n",
        }
    }
}

/// Writes everything carbon and the web application read into `root`.
pub fn write(
    root: &Path,
    line_port: u16,
    pickle_port: u16,
    query_port: u16,
    web_port: u16,
    retentions: &Retentions<'_>,
) -> std::io::Result<()> {
    for directory in [
        "conf",
        "log",
        "web",
        "storage/whisper",
        "storage/log/webapp",
    ] {
        fs::create_dir_all(root.join(directory))?;
    }
    let root_name = root.display();
    // Carbon's default of 50 new metrics a minute would drop the others for good.
    fs::write(
        root.join("conf/carbon.conf"),
        format!(
            "[cache]\n\
             USER =\n\
             STORAGE_DIR = {root_name}/storage/\n\
             LOCAL_DATA_DIR = {root_name}/storage/whisper/\n\
             CONF_DIR = {root_name}/conf/\n\
             LOG_DIR = {root_name}/log/\n\
             PID_DIR = {root_name}/\n\
             LINE_RECEIVER_INTERFACE = 127.0.0.1\n\
             LINE_RECEIVER_PORT = {line_port}\n\
             PICKLE_RECEIVER_INTERFACE = 127.0.0.1\n\
             PICKLE_RECEIVER_PORT = {pickle_port}\n\
             CACHE_QUERY_INTERFACE = 127.0.0.1\n\
             CACHE_QUERY_PORT = {query_port}\n\
             ENABLE_UDP_LISTENER = False\n\
             MAX_CREATES_PER_MINUTE = inf\n\
             MAX_UPDATES_PER_SECOND = 5000\n\
             LOG_UPDATES = False\n\
             ENABLE_TAGS = True\n\
             TAG_UPDATE_INTERVAL = 1\n\
             TAG_BATCH_SIZE = 1\n\
             GRAPHITE_URL = http://127.0.0.1:{web_port}\n"
        ),
    )?;
    fs::write(root.join("conf/storage-schemas.conf"), retentions.schemas)?;
    fs::write(
        root.join("conf/storage-aggregation.conf"),
        retentions.aggregation,
    )?;
    fs::write(
        root.join("web/local_settings.py"),
        format!(
            "SECRET_KEY = 'tests'\n\
             ALLOWED_HOSTS = ['*']\n\
             TIME_ZONE = 'UTC'\n\
             LOG_ROTATION = False\n\
             GRAPHITE_ROOT = '{root_name}'\n\
             CONF_DIR = '{root_name}/conf'\n\
             STORAGE_DIR = '{root_name}/storage'\n\
             STATIC_ROOT = '{root_name}/static'\n\
             LOG_DIR = '{root_name}/storage/log/webapp'\n\
             INDEX_FILE = '{root_name}/storage/index'\n\
             WHISPER_DIR = '{root_name}/storage/whisper'\n\
             STANDARD_DIRS = ['{root_name}/storage/whisper']\n\
             CARBONLINK_HOSTS = ['127.0.0.1:{query_port}']\n\
             DATABASES = {{'default': {{'ENGINE': 'django.db.backends.sqlite3', \
             'NAME': '{root_name}/storage/graphite.db', 'USER': '', 'PASSWORD': '', 'HOST': '', 'PORT': ''}}}}\n\
             TAGDB = 'graphite.tags.localdatabase.LocalDatabaseTagDB'\n\
             MEMCACHE_HOSTS = []\n\
             DEFAULT_CACHE_DURATION = 0\n"
        ),
    )
}
