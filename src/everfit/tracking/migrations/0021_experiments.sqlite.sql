ALTER TABLE tracking_runs RENAME TO tracking_runs_0020;
ALTER TABLE tracking_params RENAME TO tracking_params_0020;
ALTER TABLE tracking_metrics RENAME TO tracking_metrics_0020;
ALTER TABLE tracking_tags RENAME TO tracking_tags_0020;
ALTER TABLE tracking_artifacts RENAME TO tracking_artifacts_0020;
CREATE TABLE tracking_experiments (
    project TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    stage TEXT NOT NULL,
    location TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (project, id)
);
CREATE UNIQUE INDEX tracking_experiments_by_name ON tracking_experiments (project, name);
CREATE TABLE tracking_experiment_tags (
    project TEXT NOT NULL,
    experiment TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (project, experiment, key)
);
CREATE TABLE tracking_runs (
    number INTEGER NOT NULL PRIMARY KEY,
    project TEXT NOT NULL,
    id TEXT NOT NULL,
    experiment TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    stage TEXT NOT NULL,
    actor TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    finished_at BIGINT,
    deleted_at BIGINT,
    parent TEXT,
    error TEXT
);
CREATE UNIQUE INDEX tracking_runs_by_id ON tracking_runs (project, id);
CREATE INDEX tracking_runs_by_kind ON tracking_runs (project, kind, started_at);
CREATE INDEX tracking_runs_by_experiment
    ON tracking_runs (project, experiment, stage, started_at, id);
CREATE TABLE tracking_params (
    run BIGINT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    kind TEXT NOT NULL,
    PRIMARY KEY (run, key)
) WITHOUT ROWID;
CREATE INDEX tracking_params_by_value ON tracking_params (key, substr(value, 1, 200), run);
CREATE TABLE tracking_tags (
    run BIGINT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (run, key)
) WITHOUT ROWID;
CREATE INDEX tracking_tags_by_value ON tracking_tags (key, substr(value, 1, 200), run);
CREATE TABLE tracking_series (
    number INTEGER NOT NULL PRIMARY KEY,
    run BIGINT NOT NULL,
    key TEXT NOT NULL,
    step BIGINT NOT NULL,
    at BIGINT NOT NULL,
    value DOUBLE PRECISION,
    ordered SMALLINT NOT NULL
);
CREATE UNIQUE INDEX tracking_series_by_run ON tracking_series (run, key);
CREATE INDEX tracking_series_by_value ON tracking_series (key, value, run);
CREATE TABLE tracking_points (
    series BIGINT NOT NULL,
    step BIGINT NOT NULL,
    at BIGINT NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    missing SMALLINT NOT NULL,
    PRIMARY KEY (series, step, at, value, missing)
) WITHOUT ROWID;
CREATE TABLE tracking_artifacts (
    project TEXT NOT NULL,
    path TEXT NOT NULL,
    digest TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    media TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (project, path)
);
INSERT INTO tracking_experiments (project, id, name, stage, created_at, updated_at)
    SELECT project, '0', 'Default', 'active', min(started_at), min(started_at)
    FROM tracking_runs_0020 GROUP BY project;
INSERT INTO tracking_runs (project, id, experiment, kind, name, status, stage, actor,
        started_at, finished_at, parent, error)
    SELECT project, id, '0', kind, name, status, 'active', 'everfit',
        started_at, finished_at, parent, error
    FROM tracking_runs_0020 ORDER BY started_at, id;
INSERT INTO tracking_params (run, key, value, kind)
    SELECT r.number, p.key, CASE WHEN substr(p.value, 1, 1) = '"' THEN json_extract(p.value, '$') ELSE p.value END, CASE WHEN substr(p.value, 1, 1) = '"' THEN 'text' ELSE 'json' END
    FROM tracking_params_0020 p JOIN tracking_runs r ON r.project = p.project AND r.id = p.run;
INSERT INTO tracking_tags (run, key, value)
    SELECT r.number, t.key, t.value
    FROM tracking_tags_0020 t JOIN tracking_runs r ON r.project = t.project AND r.id = t.run;
INSERT INTO tracking_tags (run, key, value)
    SELECT number, 'mlflow.runName', name FROM tracking_runs WHERE true ON CONFLICT DO NOTHING;
INSERT INTO tracking_series (run, key, step, at, value, ordered)
    SELECT r.number, m.key, m.step, m.at, m.value, 0
    FROM tracking_latest_metrics m JOIN tracking_runs r ON r.project = m.project AND r.id = m.run;
INSERT INTO tracking_points (series, step, at, value, missing)
    SELECT s.number, m.step, m.at, coalesce(m.value, 0.0), CASE WHEN m.value IS NULL THEN 1 ELSE 0 END
    FROM tracking_metrics_0020 m
    JOIN tracking_runs r ON r.project = m.project AND r.id = m.run
    JOIN tracking_series s ON s.run = r.number AND s.key = m.key;
INSERT INTO tracking_artifacts (project, path, digest, bytes, media, at)
    SELECT project, '0/' || run || '/artifacts/' || name, digest, bytes, media, at
    FROM tracking_artifacts_0020;
DROP TABLE tracking_runs_0020;
DROP TABLE tracking_params_0020;
DROP TABLE tracking_metrics_0020;
DROP TABLE tracking_latest_metrics;
DROP TABLE tracking_tags_0020;
DROP TABLE tracking_artifacts_0020;
