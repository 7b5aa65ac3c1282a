CREATE TABLE evaluation_reports (
    project TEXT NOT NULL,
    id TEXT NOT NULL,
    decision TEXT NOT NULL,
    model TEXT NOT NULL,
    candidate BIGINT NOT NULL,
    champion BIGINT,
    rows BIGINT NOT NULL,
    rows_digest TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (project, id)
);
CREATE UNIQUE INDEX evaluation_reports_by_decision ON evaluation_reports (project, decision);
CREATE INDEX evaluation_reports_by_candidate ON evaluation_reports (project, model, candidate);
CREATE TABLE evaluation_verdicts (
    project TEXT NOT NULL,
    report TEXT NOT NULL,
    position BIGINT NOT NULL,
    gate TEXT NOT NULL,
    outcome TEXT NOT NULL,
    summary TEXT NOT NULL,
    numbers TEXT NOT NULL,
    PRIMARY KEY (project, report, position)
);
