"""What may be claimed of one method against another, and what may not?"""
