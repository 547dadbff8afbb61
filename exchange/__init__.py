"""What happens to a lead, in the order it happens.

http (the door) · lead, verticals, sellers (what was asked) · catalogue (who trades) · sale (the
story: eligibility, fanout, auction, plan, posting) · resolving, recovery (what was left open) ·
receipt, reasons (why) · store (the books) · office (the back office) · supervisor, cli (running it).
"""
