CREATE TABLE ledger (
    project TEXT NOT NULL,
    number BIGINT NOT NULL,
    at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    actor TEXT NOT NULL,
    data TEXT NOT NULL,
    previous TEXT NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (project, number)
);
CREATE INDEX ledger_by_subject ON ledger (project, subject);
CREATE TABLE ledger_heads (
    project TEXT NOT NULL,
    number BIGINT NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (project)
);
