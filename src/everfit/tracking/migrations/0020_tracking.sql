CREATE TABLE tracking_runs (
    project TEXT NOT NULL,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    finished_at BIGINT,
    parent TEXT,
    error TEXT,
    PRIMARY KEY (project, id)
);
CREATE INDEX tracking_runs_by_start ON tracking_runs (project, started_at);
CREATE TABLE tracking_params (
    project TEXT NOT NULL,
    run TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (project, run, key)
);
CREATE TABLE tracking_metrics (
    project TEXT NOT NULL,
    run TEXT NOT NULL,
    key TEXT NOT NULL,
    step BIGINT NOT NULL,
    at BIGINT NOT NULL,
    value DOUBLE PRECISION,
    PRIMARY KEY (project, run, key, step, at)
);
CREATE TABLE tracking_latest_metrics (
    project TEXT NOT NULL,
    run TEXT NOT NULL,
    key TEXT NOT NULL,
    step BIGINT NOT NULL,
    at BIGINT NOT NULL,
    value DOUBLE PRECISION,
    PRIMARY KEY (project, run, key)
);
CREATE TABLE tracking_tags (
    project TEXT NOT NULL,
    run TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (project, run, key)
);
CREATE TABLE tracking_artifacts (
    project TEXT NOT NULL,
    run TEXT NOT NULL,
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    media TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (project, run, name)
);
