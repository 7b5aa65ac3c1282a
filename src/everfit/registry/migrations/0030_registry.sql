CREATE TABLE registry_models (
    project TEXT NOT NULL,
    model TEXT NOT NULL,
    last_number BIGINT NOT NULL,
    PRIMARY KEY (project, model)
);
CREATE TABLE registry_versions (
    project TEXT NOT NULL,
    model TEXT NOT NULL,
    number BIGINT NOT NULL,
    run TEXT NOT NULL,
    package TEXT NOT NULL,
    dataset TEXT NOT NULL,
    profile TEXT,
    signature TEXT NOT NULL,
    metrics TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (project, model, number)
);
CREATE UNIQUE INDEX registry_versions_by_run ON registry_versions (project, model, run);
CREATE TABLE registry_aliases (
    project TEXT NOT NULL,
    model TEXT NOT NULL,
    alias TEXT NOT NULL,
    number BIGINT NOT NULL,
    PRIMARY KEY (project, model, alias)
);
CREATE TABLE registry_trusted (
    project TEXT NOT NULL,
    digest TEXT NOT NULL,
    trusted_by TEXT NOT NULL,
    reason TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (project, digest)
);
