ALTER TABLE registry_models RENAME TO registry_models_0030;
CREATE TABLE registry_models (
    project TEXT NOT NULL,
    model TEXT NOT NULL,
    description TEXT,
    last_number BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (project, model)
);
INSERT INTO registry_models (project, model, last_number, created_at, updated_at)
    SELECT made.project, made.model, made.last_number,
        COALESCE(MIN(held.created_at), 0), COALESCE(MAX(held.created_at), 0)
    FROM registry_models_0030 AS made
    LEFT JOIN registry_versions AS held
        ON held.project = made.project AND held.model = made.model
    GROUP BY made.project, made.model, made.last_number;
DROP TABLE registry_models_0030;
CREATE TABLE registry_model_tags (
    project TEXT NOT NULL,
    model TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (project, model, key)
);
CREATE INDEX registry_model_tags_by_key ON registry_model_tags (key, project);
ALTER TABLE registry_versions RENAME TO registry_versions_0030;
DROP INDEX registry_versions_by_run;
CREATE TABLE registry_versions (
    project TEXT NOT NULL,
    model TEXT NOT NULL,
    number BIGINT NOT NULL,
    origin TEXT NOT NULL,
    run TEXT,
    run_link TEXT,
    source TEXT,
    location TEXT,
    logged_model TEXT,
    package TEXT,
    unpackaged TEXT,
    dataset TEXT,
    profile TEXT,
    signature TEXT,
    metrics TEXT NOT NULL,
    algorithm TEXT,
    author TEXT,
    description TEXT,
    stage TEXT NOT NULL,
    status_message TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (project, model, number)
);
INSERT INTO registry_versions (
    project, model, number, origin, run, package, dataset, profile, signature, metrics,
    algorithm, stage, created_at, updated_at
)
    SELECT project, model, number, 'own', run, package, dataset, profile, signature, metrics,
        algorithm, 'None', created_at, created_at
    FROM registry_versions_0030;
DROP TABLE registry_versions_0030;
CREATE UNIQUE INDEX registry_versions_by_run ON registry_versions (project, model, run)
    WHERE origin = 'own';
CREATE INDEX registry_versions_of_run ON registry_versions (project, run);
CREATE INDEX registry_versions_by_stage ON registry_versions (project, model, stage, number);
CREATE INDEX registry_versions_by_update ON registry_versions (project, updated_at);
CREATE TABLE registry_version_tags (
    project TEXT NOT NULL,
    model TEXT NOT NULL,
    number BIGINT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (project, model, number, key)
);
CREATE INDEX registry_version_tags_by_key ON registry_version_tags (key, project);
CREATE TABLE registry_retired (
    project TEXT NOT NULL,
    model TEXT NOT NULL,
    last_number BIGINT NOT NULL,
    PRIMARY KEY (project, model)
);
