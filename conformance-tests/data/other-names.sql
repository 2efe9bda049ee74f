-- Names that need quotes, columns in another order and of other widths, columns of the operator's own.
CREATE TABLE "Swarm Members" (
    "Last Seen" timestamp NOT NULL,
    "Complete?" bool NOT NULL,
    note text NOT NULL DEFAULT 'kept',
    "Torrent" bytea NOT NULL,
    "Who@" bytea NOT NULL,
    "Where" bytea NOT NULL,
    "Door" int4 NOT NULL,
    "Six" bool NOT NULL,
    PRIMARY KEY ("Torrent", "Who@", "Where", "Door")
);

CREATE TABLE "Snatches" (
    "Times" int2 NOT NULL,
    "Torrent" bytea PRIMARY KEY
);

CREATE TABLE "Odds & Ends" (
    "Thing" bytea NOT NULL,
    "Drawer" varchar(200) NOT NULL,
    "Name" bytea NOT NULL,
    PRIMARY KEY ("Drawer", "Name")
);
