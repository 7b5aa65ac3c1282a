CREATE TABLE training_steps (
    project TEXT NOT NULL,
    key TEXT NOT NULL,
    recipe TEXT NOT NULL,
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    kind TEXT NOT NULL,
    wall_seconds DOUBLE PRECISION NOT NULL,
    cpu_seconds DOUBLE PRECISION NOT NULL,
    peak_bytes BIGINT NOT NULL,
    cost DOUBLE PRECISION NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (project, key)
);
CREATE INDEX training_steps_by_recipe ON training_steps (project, recipe);
CREATE TABLE training_values (
    project TEXT NOT NULL,
    digest TEXT NOT NULL,
    kind TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (project, digest, kind)
);
CREATE TABLE training_run_steps (
    project TEXT NOT NULL,
    run_id TEXT NOT NULL,
    name TEXT NOT NULL,
    key TEXT NOT NULL,
    digest TEXT,
    cached BIGINT NOT NULL,
    status TEXT NOT NULL,
    output TEXT NOT NULL,
    error TEXT,
    at BIGINT NOT NULL,
    PRIMARY KEY (project, run_id, name)
)
