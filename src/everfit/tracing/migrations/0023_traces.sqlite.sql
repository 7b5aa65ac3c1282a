CREATE TABLE tracking_traces (
    number INTEGER NOT NULL PRIMARY KEY,
    project TEXT NOT NULL,
    id TEXT NOT NULL,
    experiment TEXT NOT NULL,
    state TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    duration_ms BIGINT,
    client_request_id TEXT,
    request_preview TEXT,
    response_preview TEXT
);
CREATE UNIQUE INDEX tracking_traces_by_id ON tracking_traces (project, id);
CREATE INDEX tracking_traces_by_experiment
    ON tracking_traces (project, experiment, started_at, id);
CREATE TABLE tracking_trace_metadata (
    trace BIGINT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (trace, key)
) WITHOUT ROWID;
CREATE INDEX tracking_trace_metadata_by_value
    ON tracking_trace_metadata (key, substr(value, 1, 200), trace);
CREATE TABLE tracking_trace_tags (
    trace BIGINT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (trace, key)
) WITHOUT ROWID;
CREATE INDEX tracking_trace_tags_by_value
    ON tracking_trace_tags (key, substr(value, 1, 200), trace);
CREATE TABLE tracking_trace_links (
    project TEXT NOT NULL,
    run TEXT NOT NULL,
    trace TEXT NOT NULL,
    PRIMARY KEY (project, run, trace)
) WITHOUT ROWID;
CREATE INDEX tracking_trace_links_by_trace ON tracking_trace_links (project, trace);
