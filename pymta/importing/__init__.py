"""importing: what another mail system's configuration says, in our words.                    pymta-import(8)

One package for each: postfix, qmail, exim, dovecot.  In each, grammar takes files apart, tables says in one line what becomes of a setting, reading
holds what was found, and the other modules are functions over it.  Each is a pure reader: a Source in (texts by path), an Import out (rows of the report,
and what our files shall hold).  Nothing in the other's configuration is ever run, and no text in it raises.
"""
