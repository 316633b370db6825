"""What lies in which table? The tables as the newest migration leaves them, for building queries;
the migrations themselves make them."""

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Double,
    LargeBinary,
    MetaData,
    Table,
    Text,
    extract,
    func,
    literal_column,
)

metadata = MetaData()

# What a listing needs and nothing else: 10,000 of these rows are read in one go.
runs = Table(
    "trainwright_runs",
    metadata,
    Column("number", BigInteger, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("state", Text, nullable=False),
    Column("created", Double, nullable=False),
    Column("updated", Double, nullable=False),
    Column("recipe_hash", Text, nullable=False),
    Column("steps", BigInteger, nullable=False),
    Column("metric_name", Text),
    Column("metric_split", Text),
    Column("metric_value", Double),
)

# The whole record, as JSON text (not a JSON column: those refuse NaN).
records = Table(
    "trainwright_records",
    metadata,
    Column("run", Text, primary_key=True),
    Column("body", Text, nullable=False),
)

# Names and shapes that many readings of a run share.
layouts = Table(
    "trainwright_layouts",
    metadata,
    Column("run", Text, primary_key=True),
    Column("layout", BigInteger, primary_key=True, autoincrement=False),
    Column("names", Text, nullable=False),
)

# `id` is the cursor; it is never used twice, also when the newest rows are dropped.
readings = Table(
    "trainwright_readings",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("run", Text, nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("layout", BigInteger, nullable=False),
    Column("packed", LargeBinary, nullable=False),
)

# `files` is JSON: file name -> digest of the artefact.
checkpoints = Table(
    "trainwright_checkpoints",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("run", Text, nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("created", Double, nullable=False),
    Column("files", Text, nullable=False),
)

leases = Table(
    "trainwright_leases",
    metadata,
    Column("run", Text, primary_key=True),
    Column("token", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("machine", Text, nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("started", Text, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("expires", Double, nullable=False),
)


def now(dialect: str) -> ColumnElement[float]:
    """Unix seconds by the database's clock: the one clock that all writers share."""
    if dialect == "postgresql":
        return extract("epoch", func.clock_timestamp()).cast(Double)
    # Days since noon of 24 November 4714 BC; 2440587.5 is 1 January 1970. To the millisecond.
    return literal_column("(julianday('now') - 2440587.5) * 86400.0", Double)
