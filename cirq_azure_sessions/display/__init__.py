"""What results and sessions look like to a person. Pure.

histogram   how often each outcome was measured
html        tables for notebooks
"""
