CREATE TABLE monitoring_states (
    project TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    revision BIGINT NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (project, endpoint)
);
CREATE TABLE monitoring_segments (
    project TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    kind TEXT NOT NULL,
    number BIGINT NOT NULL,
    digest TEXT NOT NULL,
    rows BIGINT NOT NULL,
    min_id TEXT NOT NULL,
    max_id TEXT NOT NULL,
    min_time BIGINT NOT NULL,
    max_time BIGINT NOT NULL,
    sealed_at BIGINT NOT NULL,
    PRIMARY KEY (project, endpoint, kind, number)
);
CREATE INDEX monitoring_segments_by_id ON monitoring_segments (project, endpoint, kind, max_id);
CREATE INDEX monitoring_segments_by_time ON monitoring_segments (project, endpoint, kind, max_time);
CREATE TABLE monitoring_windows (
    project TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    start BIGINT NOT NULL,
    version BIGINT NOT NULL,
    ends BIGINT NOT NULL,
    rows BIGINT NOT NULL,
    closed BIGINT NOT NULL,
    counts TEXT NOT NULL,
    quality TEXT,
    drift TEXT NOT NULL,
    data_quality TEXT NOT NULL,
    PRIMARY KEY (project, endpoint, start, version)
);
CREATE INDEX monitoring_windows_by_closed ON monitoring_windows (project, endpoint, closed);
CREATE TABLE monitoring_alerts (
    project TEXT NOT NULL,
    id TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    kind TEXT NOT NULL,
    version BIGINT NOT NULL,
    opened_at BIGINT NOT NULL,
    window_start BIGINT NOT NULL,
    columns TEXT NOT NULL,
    summary TEXT NOT NULL,
    action TEXT NOT NULL,
    numbers TEXT NOT NULL,
    calm BIGINT NOT NULL,
    closed_at BIGINT,
    reason TEXT,
    PRIMARY KEY (project, id)
);
CREATE INDEX monitoring_alerts_by_endpoint ON monitoring_alerts (project, endpoint, closed_at);
CREATE TABLE monitoring_pending_labels (
    project TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    number BIGINT NOT NULL,
    id TEXT,
    key TEXT,
    label TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (project, endpoint, number)
);
