CREATE TABLE governance_approvals (
    project TEXT NOT NULL,
    model TEXT NOT NULL,
    version BIGINT NOT NULL,
    person TEXT NOT NULL,
    at BIGINT NOT NULL,
    comment TEXT NOT NULL,
    PRIMARY KEY (project, model, version, person)
);
