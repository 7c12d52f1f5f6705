"""upkeep: what an admin does with a Maildir: check it, go over from another server and back, undo an expunge.   pymta-maildir(8)"""
