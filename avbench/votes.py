"""What did people prefer, and how sure is that?"""
