CREATE TABLE work_jobs (
    project TEXT NOT NULL,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    key TEXT,
    state TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    max_attempts BIGINT NOT NULL,
    run_after BIGINT NOT NULL,
    worker TEXT,
    created_at BIGINT NOT NULL,
    finished_at BIGINT,
    error TEXT,
    result TEXT,
    PRIMARY KEY (project, id)
);
CREATE INDEX work_jobs_due ON work_jobs (project, run_after, id)
    WHERE state IN ('queued', 'running');
CREATE UNIQUE INDEX work_jobs_live_key ON work_jobs (project, kind, key)
    WHERE state IN ('queued', 'running');
CREATE TABLE work_schedules (
    project TEXT NOT NULL,
    name TEXT NOT NULL,
    every TEXT NOT NULL,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    next_at BIGINT NOT NULL,
    PRIMARY KEY (project, name)
);
