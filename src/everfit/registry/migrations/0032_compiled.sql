CREATE TABLE registry_compiled (
    project TEXT NOT NULL,
    package TEXT NOT NULL,
    content TEXT,
    reason TEXT NOT NULL,
    signature TEXT NOT NULL,
    seconds DOUBLE PRECISION NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (project, package)
);
