CREATE TABLE data_versions (
    project TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    row_count BIGINT NOT NULL,
    column_names TEXT NOT NULL,
    chunks TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (project, id)
);
CREATE INDEX data_versions_by_name ON data_versions (project, name);
