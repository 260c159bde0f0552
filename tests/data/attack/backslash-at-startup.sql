To begin the session with other strings: that is a parameter like any other, and refused.
-- startup: options=-c standard_conforming_strings=off
--- no session
