//! Statements that a connection prepares once.
//!
//! `diesel::sql_query` cannot know whether its text is one of endlessly many, so Postgres reads and plans it anew each
//! time, which takes a question of its own. Ours are written down in the code: a connection asks for each once, and from
//! then on sends nothing but its values.

use std::marker::PhantomData;

use diesel::expression::expression_types::Untyped;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::HasSqlType;
use diesel::{QueryResult, RunQueryDsl};

/// A statement with `$1`, `$2` … where [`bind`](Statement::bind)'s values belong, in their order.
///
/// For texts of which the code has a fixed number: each connection keeps what it has prepared. What is made of values
/// that a caller chooses (a cursor's size, a name) is `diesel::sql_query`'s. It names the columns that it returns: with a
/// star a column that a migration adds ends it on every connection that has prepared it.
#[must_use = "a statement does nothing before it is executed or loaded"]
pub fn sql(text: impl Into<String>) -> Statement {
    Statement(text.into())
}

/// See [`sql`].
#[derive(Debug, Clone)]
#[must_use = "a statement does nothing before it is executed or loaded"]
pub struct Statement(String);

/// A statement and some of its values.
#[derive(Debug, Clone)]
#[must_use = "a statement does nothing before it is executed or loaded"]
pub struct Bound<Before, Value, SqlType> {
    before: Before,
    value: Value,
    sql_type: PhantomData<SqlType>,
}

impl Statement {
    /// The next value, as the SQL type that stands first.
    pub const fn bind<SqlType, Value>(self, value: Value) -> Bound<Self, Value, SqlType> {
        Bound::new(self, value)
    }
}

impl<Before, Value, SqlType> Bound<Before, Value, SqlType> {
    const fn new(before: Before, value: Value) -> Self {
        Self {
            before,
            value,
            sql_type: PhantomData,
        }
    }

    /// The next value, as the SQL type that stands first.
    pub const fn bind<NextType, Next>(self, value: Next) -> Bound<Self, Next, NextType> {
        Bound::new(self, value)
    }
}

impl QueryFragment<Pg> for Statement {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(&self.0);
        Ok(())
    }
}

impl<Before, Value, SqlType> QueryFragment<Pg> for Bound<Before, Value, SqlType>
where
    Before: QueryFragment<Pg>,
    Value: ToSql<SqlType, Pg>,
    Pg: HasSqlType<SqlType>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.before.walk_ast(out.reborrow())?;
        out.push_bind_param_value_only(&self.value)
    }
}

// Known by its text and the types of its values.
impl QueryId for Statement {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Before, Value, SqlType> QueryId for Bound<Before, Value, SqlType> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

// Its rows are read by the names of their columns.
impl Query for Statement {
    type SqlType = Untyped;
}

impl<Before, Value, SqlType> Query for Bound<Before, Value, SqlType> {
    type SqlType = Untyped;
}

impl<Conn> RunQueryDsl<Conn> for Statement {}

impl<Conn, Before, Value, SqlType> RunQueryDsl<Conn> for Bound<Before, Value, SqlType> {}
