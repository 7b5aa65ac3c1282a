CREATE TABLE tracking_datasets (
    number INTEGER NOT NULL PRIMARY KEY,
    project TEXT NOT NULL,
    experiment TEXT NOT NULL,
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    source_type TEXT NOT NULL,
    source TEXT NOT NULL,
    schema TEXT,
    profile TEXT
);
CREATE UNIQUE INDEX tracking_datasets_by_name
    ON tracking_datasets (project, experiment, name, digest);
CREATE TABLE tracking_inputs (
    number INTEGER NOT NULL PRIMARY KEY,
    run BIGINT NOT NULL,
    dataset BIGINT NOT NULL,
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    context TEXT,
    tags TEXT NOT NULL
);
CREATE UNIQUE INDEX tracking_inputs_by_run ON tracking_inputs (run, dataset);
CREATE INDEX tracking_inputs_by_dataset ON tracking_inputs (dataset, context);
CREATE TABLE tracking_run_models (
    run BIGINT NOT NULL,
    role TEXT NOT NULL,
    model TEXT NOT NULL,
    step BIGINT NOT NULL,
    PRIMARY KEY (run, role, model)
) WITHOUT ROWID;
CREATE TABLE tracking_logged_models (
    number INTEGER NOT NULL PRIMARY KEY,
    project TEXT NOT NULL,
    id TEXT NOT NULL,
    experiment TEXT NOT NULL,
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    source_run TEXT NOT NULL,
    status TEXT NOT NULL,
    stage TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX tracking_logged_models_by_id ON tracking_logged_models (project, id);
CREATE INDEX tracking_logged_models_by_experiment
    ON tracking_logged_models (project, experiment, stage, created_at, id);
CREATE TABLE tracking_logged_model_params (
    model BIGINT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (model, key)
) WITHOUT ROWID;
CREATE TABLE tracking_logged_model_tags (
    model BIGINT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (model, key)
) WITHOUT ROWID;
CREATE TABLE tracking_model_series (
    number INTEGER NOT NULL PRIMARY KEY,
    model BIGINT NOT NULL,
    run_series BIGINT NOT NULL,
    run BIGINT NOT NULL,
    dataset TEXT NOT NULL,
    digest TEXT NOT NULL,
    key TEXT NOT NULL,
    at BIGINT NOT NULL,
    step BIGINT NOT NULL,
    value DOUBLE PRECISION
);
CREATE UNIQUE INDEX tracking_model_series_by_series
    ON tracking_model_series (model, run_series, dataset, digest);
CREATE INDEX tracking_model_series_by_key ON tracking_model_series (model, key);
CREATE TABLE tracking_model_points (
    series BIGINT NOT NULL,
    at BIGINT NOT NULL,
    step BIGINT NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    missing SMALLINT NOT NULL,
    PRIMARY KEY (series, at, step, value, missing)
) WITHOUT ROWID;
