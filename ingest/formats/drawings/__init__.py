"""What surveyors draw and measure: DXF, LandXML, survey points, RINEX."""
