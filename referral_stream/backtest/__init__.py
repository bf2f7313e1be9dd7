"""Two policies on one recorded log: whom each would have asked, and where they differ (after §9)."""
